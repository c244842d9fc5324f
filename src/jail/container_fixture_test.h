// Containers from busybox in real namespaces on this machine, without a VM.
#pragma once

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "jail/jail.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::jail {

struct RunResult {
  std::string output;  // stdout and stderr
  ExitStatus status;
};

class ContainerTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!PathExists("/bin/busybox")) GTEST_SKIP() << "needs busybox-static";
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create("kata-jail-"));
    directory_ = std::make_unique<TempDir>(std::move(directory));
    ASSERT_EQ(chmod(directory_->path().c_str(), 0755), 0);
    rootfs_ = directory_->path() + "/rootfs";
    for (const char* name : {"", "/bin", "/etc", "/proc", "/sys", "/dev", "/tmp", "/root"}) {
      ASSERT_OK(MakeDirectories(rootfs_ + name));
    }
    ASSERT_OK_AND_ASSIGN(const std::string busybox, ReadFile("/bin/busybox"));
    ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/busybox", busybox, 0755));
    for (const char* applet :
         {"sh", "cat", "echo", "id",    "ls",    "mount",    "grep", "pwd",  "env",   "sleep", "hostname",
          "ps", "tty", "stty", "touch", "mknod", "readlink", "stat", "kill", "mkdir", "ip",    "true"}) {
      ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/" + applet).c_str()), 0);
    }
    ASSERT_OK(WriteFileAtomic(rootfs_ + "/etc/passwd",
                              "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/u:/bin/sh\n"));
  }

  // A container as an engine describes it, with a shell command as its process.
  static oci::Spec ShellSpec(const std::string& command) {
    oci::Spec spec;
    spec.oci_version = "1.1.0";
    spec.hostname = "jailed";
    spec.root = oci::Root{"rootfs", false};
    oci::Process process;
    process.args = {"/bin/sh", "-c", command};
    process.env = {"PATH=/bin:/usr/bin", "COLOR=blue"};
    process.cwd = "/";
    process.no_new_privileges = true;
    const std::vector<std::string> names{"CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"};
    process.capabilities = oci::Capabilities{names, names, {}, names, {}};
    spec.process = process;
    spec.mounts = {
        {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}, {}},
        {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, {}, {}},
        {"/dev/pts",
         "devpts",
         "devpts",
         {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
         {},
         {}},
        {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}, {}, {}},
        {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}, {}},
        {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, {}, {}},
    };
    oci::Linux section;
    for (const char* type : {"pid", "network", "ipc", "uts", "mount"})
      section.namespaces.push_back({type, ""});
    section.masked_paths = {"/proc/kcore", "/proc/timer_list", "/sys/firmware", "/proc/nosuch"};
    section.readonly_paths = {"/proc/sys", "/proc/irq"};
    spec.linux = section;
    return spec;
  }

  // Gives the container a user namespace, and the root file system to its root.
  void MapIds(oci::Spec& spec) const {
    spec.linux->namespaces.push_back({"user", ""});
    spec.linux->uid_mappings = {{0, 100000, 65536}};
    spec.linux->gid_mappings = {{0, 100000, 65536}};
    for (const char* name : {"", "/tmp", "/proc", "/dev", "/sys"})
      ASSERT_EQ(chown((rootfs_ + name).c_str(), 100000, 100000), 0);
  }

  CreateOptions Options() const {
    CreateOptions options;
    options.container_id = "c1";
    options.rootfs = rootfs_;
    return options;
  }

  // Runs a container to its end.
  Result<RunResult> Run(const oci::Spec& spec, CreateOptions options) {
    PipeEnds pipe = TRY(MakePipe());
    options.stdio.stdout_fd = pipe.write.get();
    options.stdio.stderr_fd = pipe.write.get();
    std::unique_ptr<Container> container = TRY(Container::Create(spec, options));
    pipe.write.Reset();
    TRY(container->Start());
    return Finish(container->TakeInit(), pipe.read.get());
  }
  Result<RunResult> Run(const oci::Spec& spec) { return Run(spec, Options()); }

  static Result<RunResult> Finish(ChildProcess process, int output_fd) {
    RunResult result;
    const Deadline deadline = Deadline::After(std::chrono::seconds(60));
    char buffer[4096];
    for (;;) {
      TRY(WaitFd(output_fd, POLLIN, deadline, "output"));
      const ssize_t n = read(output_fd, buffer, sizeof(buffer));
      // A pseudo-terminal says EIO when its slave is closed.
      if (n < 0 && errno != EIO) return SysError("read output");
      if (n <= 0) break;
      result.output.append(buffer, static_cast<size_t>(n));
    }
    result.status = TRY(process.Wait(deadline));
    return result;
  }

  std::unique_ptr<TempDir> directory_;
  std::string rootfs_;
};

class RunningContainerTest : public ContainerTest {
 protected:
  Result<std::unique_ptr<Container>> StartSleeper(oci::Spec spec, const CreateOptions& options) {
    spec.process->args = {"sleep", "1000"};
    std::unique_ptr<Container> container = TRY(Container::Create(spec, options));
    TRY(container->Start());
    return container;
  }

  Result<RunResult> Exec(Container& container, const oci::Process& process, const std::string& cgroup = {}) {
    PipeEnds pipe = TRY(MakePipe());
    ExecOptions options;
    options.cgroup = cgroup;
    options.stdio.stdout_fd = pipe.write.get();
    options.stdio.stderr_fd = pipe.write.get();
    StartedProcess started = TRY(container.Exec(process, options));
    pipe.write.Reset();
    return Finish(std::move(started.process), pipe.read.get());
  }

  static oci::Process ShellProcess(const std::string& command) { return *ShellSpec(command).process; }
};

}  // namespace kata::jail
