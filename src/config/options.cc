// The keys that are read, one row each.
#include "config/options.h"

#include <fmt/format.h>

namespace kata::config {
namespace {

constexpr uint64_t kMaxMib = 16u << 20;  // 16 TiB

std::string Join(const std::vector<std::string_view>& words) {
  std::string text;
  for (const std::string_view word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

// A value as it would stand in the file.
struct DescribeDefault {
  std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const std::string* value) const { return fmt::format("\"{}\"", *value); }
  std::string operator()(const uint32_t* value) const { return fmt::format("{}", *value); }
  std::string operator()(const uint64_t* value) const { return fmt::format("{}", *value); }
  std::string operator()(const std::chrono::seconds* value) const {
    return fmt::format("{}", value->count());
  }
  std::string operator()(const CpuCount& count) const { return fmt::format("{}", *count.value); }
  std::string operator()(const std::vector<std::string>* value) const {
    std::string text;
    for (const std::string& word : *value) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", word);
    return "[" + text + "]";
  }
};

struct DescribeType {
  const Option& option;
  std::string operator()(const bool*) const { return "boolean"; }
  std::string operator()(const std::string*) const {
    return option.allowed.empty() ? "string" : Join(option.allowed);
  }
  std::string operator()(const uint32_t*) const { return Range(); }
  std::string operator()(const uint64_t*) const { return Range(); }
  std::string operator()(const std::chrono::seconds*) const { return Range() + " seconds"; }
  std::string operator()(const CpuCount&) const { return "number of CPUs"; }
  std::string operator()(const std::vector<std::string>*) const { return "list of strings"; }
  std::string Range() const {
    if (option.min == option.max) return fmt::format("{}", option.min);
    return fmt::format("{} to {}", option.min, option.max);
  }
};

// A key whose part of the runtime is not there yet.
Option NotUsed(Option option) {
  option.used = false;
  return option;
}

}  // namespace

const std::vector<std::string_view>& HypervisorNames() {
  static const std::vector<std::string_view> names = {"qemu"};
  return names;
}

std::vector<Option> OptionsOf(Config& config) {
  HypervisorConfig& hypervisor = config.hypervisor;
  AgentConfig& agent = config.agent;
  RuntimeConfig& runtime = config.runtime;
  return {
      {Section::kHypervisor, "path", &hypervisor.path, "the VMM's program; empty: where Debian installs it"},
      {Section::kHypervisor, "valid_hypervisor_paths", &hypervisor.valid_hypervisor_paths,
       "patterns of programs that an annotation may name"},
      {Section::kHypervisor, "kernel", &hypervisor.kernel, "the guest's kernel, uncompressed"},
      {Section::kHypervisor, "image", &hypervisor.image,
       "disk with the guest's root file system in its first partition; this or `initrd`"},
      {Section::kHypervisor, "initrd", &hypervisor.initrd, "initial RAM disk of the guest; this or `image`"},
      {Section::kHypervisor,
       "rootfs_type",
       &hypervisor.rootfs_type,
       "the file system on `image`",
       {"ext4", "xfs", "erofs"}},
      {Section::kHypervisor,
       "machine_type",
       &hypervisor.machine_type,
       "board that the VMM emulates",
       {"q35"}},
      {Section::kHypervisor, "machine_accelerators", &hypervisor.machine_accelerators,
       "more properties of the board, separated by commas"},
      {Section::kHypervisor, "cpu_features", &hypervisor.cpu_features,
       "more properties of the CPU model, separated by commas, e.g. `pmu=off`"},
      {Section::kHypervisor,
       "acceleration",
       &hypervisor.acceleration,
       "hardware or software emulation; auto: KVM where it really works, else TCG",
       {"auto", "kvm", "tcg"}},
      {Section::kHypervisor, "kernel_params", &hypervisor.kernel_params,
       "put behind the guest's kernel command line, where they win; at most 1400 bytes"},
      {Section::kHypervisor, "firmware", &hypervisor.firmware,
       "firmware to boot with instead of the VMM's own"},
      {Section::kHypervisor, "seccompsandbox", &hypervisor.seccomp_sandbox,
       "system call filter of the VMM, e.g. `on,obsolete=deny,spawn=deny,resourcecontrol=deny`"},
      {Section::kHypervisor, "default_vcpus", CpuCount{&hypervisor.default_vcpus, 1},
       "CPUs for containers without a quota; negative: as many as the host has"},
      {Section::kHypervisor, "default_maxvcpus", CpuCount{&hypervisor.default_max_vcpus, 0},
       "CPUs that a guest gets at most; 0: as many as the host has"},
      {Section::kHypervisor,
       "default_memory",
       &hypervisor.default_memory_mib,
       "MiB of memory for containers without a limit",
       {},
       kMinMemoryMib,
       kMaxMib},
      {Section::kHypervisor,
       "default_maxmemory",
       &hypervisor.default_max_memory_mib,
       "MiB of memory that a guest gets at most; 0: as much as the host has",
       {},
       0,
       kMaxMib},
      {Section::kHypervisor,
       "overhead_memory",
       &hypervisor.overhead_memory_mib,
       "MiB that a guest gets for its kernel and agent on top of the container's memory limit",
       {},
       0,
       kMaxMib},
      {Section::kHypervisor,
       "shared_fs",
       &hypervisor.shared_fs,
       "how root file systems and volumes reach the guest",
       {"virtio-fs", "virtio-9p"}},
      {Section::kHypervisor, "virtio_fs_daemon", &hypervisor.virtio_fs_daemon,
       "virtiofsd; empty: the first that exists of the places where Debian installs it"},
      {Section::kHypervisor, "valid_virtio_fs_daemon_paths", &hypervisor.valid_virtio_fs_daemon_paths,
       "patterns of daemons that an annotation may name"},
      {Section::kHypervisor,
       "virtio_fs_cache",
       &hypervisor.virtio_fs_cache,
       "what the guest caches of shared files",
       {"never", "metadata", "auto", "always"}},
      {Section::kHypervisor,
       "virtio_fs_cache_size",
       &hypervisor.virtio_fs_cache_size_mib,
       "MiB of the DAX window, which QEMU does not have",
       {},
       0,
       0},
      {Section::kHypervisor,
       "virtio_fs_queue_size",
       &hypervisor.virtio_fs_queue_size,
       "requests that may wait in a queue, a power of two",
       {},
       1,
       1024},
      {Section::kHypervisor, "virtio_fs_extra_args", &hypervisor.virtio_fs_extra_args,
       "more arguments for virtiofsd"},
      {Section::kHypervisor,
       "msize_9p",
       &hypervisor.msize_9p,
       "bytes of one 9p message",
       {},
       4096,
       16u << 20},
      {Section::kHypervisor, "enable_mem_prealloc", &hypervisor.enable_mem_prealloc,
       "take all of the guest's memory from the host at once"},
      {Section::kHypervisor, "enable_hugepages", &hypervisor.enable_hugepages,
       "back the guest's memory with huge pages"},
      {Section::kHypervisor, "disable_vhost_net", &hypervisor.disable_vhost_net,
       "let the VMM move the packets of network cards itself where the host's kernel could"},
      {Section::kHypervisor, "reclaim_guest_freed_memory", &hypervisor.reclaim_guest_freed_memory,
       "give memory that the guest has freed back to the host"},
      {Section::kHypervisor, "entropy_source", &hypervisor.entropy_source,
       "where the guest's random numbers come from"},
      {Section::kHypervisor, "valid_entropy_sources", &hypervisor.valid_entropy_sources,
       "patterns of sources that an annotation may name"},
      {Section::kHypervisor, "enable_annotations", &hypervisor.enable_annotations,
       "regular expressions of the hypervisor keys that annotations may change"},
      {Section::kHypervisor, "guest_hook_path", &hypervisor.guest_hook_path,
       "directory of hooks inside the guest"},
      {Section::kHypervisor, "enable_debug", &hypervisor.enable_debug,
       "log the command lines and the words of VMM and virtiofsd, and the guest's console"},
      {Section::kAgent, "enable_debug", &agent.enable_debug, "the agent logs at debug level"},
      {Section::kAgent, "debug_console_enabled", &agent.debug_console_enabled,
       "offer a root shell in the guest, outside of the containers, if its `image` has one"},
      {Section::kAgent, "kernel_modules", &agent.kernel_modules,
       "modules to load in the guest: `name parameter=value ...`"},
      {Section::kAgent,
       "dial_timeout",
       &agent.dial_timeout,
       "until the agent answers, from the start of the VM",
       {},
       1,
       3600},
      {Section::kRuntime, "enable_debug", &runtime.enable_debug, "log at debug level"},
      {Section::kRuntime, "disable_guest_seccomp", &runtime.disable_guest_seccomp,
       "do not apply the container's seccomp filter in the guest"},
      {Section::kRuntime,
       "internetworking_model",
       &runtime.internetworking_model,
       "how the VM is connected to the interfaces of its network namespace",
       {"tcfilter", "macvtap", "none"}},
      {Section::kRuntime, "static_sandbox_resource_mgmt", &runtime.static_sandbox_resource_mgmt,
       "never plug CPUs and memory into a running guest: its size stays that of its first container"},
      {Section::kRuntime,
       "create_container_timeout",
       &runtime.create_container_timeout,
       "until a container is created",
       {},
       1,
       3600},
      NotUsed({Section::kRuntime, "sandbox_bind_mounts", &runtime.sandbox_bind_mounts,
               "host paths that every guest sees, read-only, as sandbox-mounts/<last part>"}),
  };
}

std::string SectionPath(Section section, std::string_view hypervisor_name) {
  switch (section) {
    case Section::kHypervisor:
      return fmt::format("hypervisor.{}", hypervisor_name);
    case Section::kAgent:
      return "agent.kata";
    case Section::kRuntime:
      return "runtime";
  }
  return {};
}

std::string OptionsAsMarkdown() {
  Config defaults;
  std::string text;
  Section section{};
  for (const Option& option : OptionsOf(defaults)) {
    if (text.empty() || option.section != section) {
      section = option.section;
      text += fmt::format("{}### [{}]\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                          text.empty() ? "" : "\n", SectionPath(section, "qemu"));
    }
    text += fmt::format("| `{}` | {} | `{}` | {}{} |\n", option.key,
                        std::visit(DescribeType{option}, option.target),
                        std::visit(DescribeDefault{}, option.target), option.meaning,
                        option.used ? "" : " (checked, not used yet)");
  }
  return text;
}

}  // namespace kata::config
