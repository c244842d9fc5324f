#include "oci/example_spec.h"

#include "base/version.h"

namespace kata::oci {
namespace {

Process ExampleProcess() {
  const std::vector<std::string> capabilities = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  Process process;
  process.terminal = true;
  process.args = {"sh"};
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  process.cwd = "/";
  process.capabilities = Capabilities{.bounding = capabilities,
                                      .effective = capabilities,
                                      .permitted = capabilities,
                                      .ambient = capabilities};
  process.rlimits = {{.type = "RLIMIT_NOFILE", .hard = 1024, .soft = 1024}};
  process.no_new_privileges = true;
  return process;
}

Mount MakeMount(std::string destination, std::string type, std::string source,
                std::vector<std::string> options) {
  Mount mount;
  mount.destination = std::move(destination);
  mount.type = std::move(type);
  mount.source = std::move(source);
  mount.options = std::move(options);
  return mount;
}

std::vector<Mount> ExampleMounts() {
  return {
      MakeMount("/proc", "proc", "proc", {}),
      MakeMount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      MakeMount("/dev/pts", "devpts", "devpts",
                {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      MakeMount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
      MakeMount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      MakeMount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      MakeMount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}),
  };
}

Linux ExampleLinux() {
  Linux linux;
  linux.resources.emplace().devices = {{.allow = false, .access = "rwm"}};
  linux.namespaces = {
      {.type = "pid"}, {.type = "network"}, {.type = "ipc"}, {.type = "uts"}, {.type = "mount"}};
  linux.masked_paths = {"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
                        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                        "/sys/firmware",       "/proc/scsi"};
  linux.readonly_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return linux;
}

}  // namespace

Spec ExampleSpec() {
  Spec spec;
  spec.oci_version = OciSpecVersion();
  spec.process = ExampleProcess();
  spec.root = Root{.path = "rootfs", .readonly = true};
  spec.hostname = "runc";
  spec.mounts = ExampleMounts();
  spec.linux = ExampleLinux();
  return spec;
}

Spec RootlessExampleSpec(uint32_t uid, uint32_t gid) {
  Spec spec = ExampleSpec();
  Linux& linux = *spec.linux;
  linux.resources.reset();
  linux.namespaces.push_back({.type = "user"});
  linux.uid_mappings = {{.container_id = 0, .host_id = uid, .size = 1}};
  linux.gid_mappings = {{.container_id = 0, .host_id = gid, .size = 1}};
  // The group of terminals is not mapped.
  for (Mount& mount : spec.mounts) std::erase(mount.options, "gid=5");
  return spec;
}

}  // namespace kata::oci
