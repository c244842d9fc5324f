// configuration.toml as values: loaded, adjusted to the host, validated (docs/configuration.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::config {

// A virtual machine with less does not boot: kernel, unpacked initrd and agent.
inline constexpr uint64_t kMinMemoryMib = 96;

struct HypervisorConfig {
  std::string path;
  std::vector<std::string> valid_hypervisor_paths;
  std::string kernel;
  std::string image;                 // exactly one of image
  std::string initrd;                // and initrd
  std::string rootfs_type = "ext4";  // of image
  std::string machine_type = "q35";
  std::string machine_accelerators;
  std::string cpu_features;
  std::string acceleration = "auto";  // auto, kvm, tcg; our own key
  std::string kernel_params;
  std::string firmware;
  std::string seccomp_sandbox;
  uint32_t default_vcpus = 1;
  uint32_t default_max_vcpus = 0;  // 0 becomes the host's
  uint64_t default_memory_mib = 256;
  uint64_t default_max_memory_mib = 0;  // 0 becomes the host's
  uint64_t overhead_memory_mib = 64;
  std::string shared_fs = "virtio-fs";  // virtio-fs, virtio-9p
  std::string virtio_fs_daemon;
  std::vector<std::string> valid_virtio_fs_daemon_paths;
  std::string virtio_fs_cache = "auto";
  uint64_t virtio_fs_cache_size_mib = 0;
  uint32_t virtio_fs_queue_size = 1024;
  std::vector<std::string> virtio_fs_extra_args;
  uint32_t msize_9p = 8192;
  bool enable_mem_prealloc = false;
  bool enable_hugepages = false;
  bool reclaim_guest_freed_memory = false;
  bool disable_vhost_net = false;
  std::string entropy_source = "/dev/urandom";
  std::vector<std::string> valid_entropy_sources;
  std::vector<std::string> enable_annotations;
  std::string guest_hook_path;
  bool enable_debug = false;
};

struct AgentConfig {
  bool enable_debug = false;
  bool debug_console_enabled = false;
  std::vector<std::string> kernel_modules;
  std::chrono::seconds dial_timeout{45};  // from the start of the VM until the agent answers
};

struct RuntimeConfig {
  bool enable_debug = false;
  bool disable_guest_seccomp = false;
  std::string internetworking_model = "tcfilter";
  bool static_sandbox_resource_mgmt = false;
  std::chrono::seconds create_container_timeout{60};
  std::vector<std::string> sandbox_bind_mounts;
};

struct Config {
  std::string file;             // the main file, symbolic links resolved
  std::string hypervisor_name;  // of the [hypervisor.NAME] table
  HypervisorConfig hypervisor;
  AgentConfig agent;
  RuntimeConfig runtime;
  // One line each, "FILE:LINE: key 'x' is not used by this version", to be logged once by the caller.
  std::vector<std::string> warnings;
  // The same, one for each file, of the keys that are not used and ask for nothing. No warnings: a file of
  // Kata's own has dozens of them.
  std::vector<std::string> notes;
  std::map<std::string, std::string> locations;  // TOML path of a key -> "FILE:LINE"

  // The beginning of a message about the key at `path`: "FILE:LINE: hypervisor.qemu.shared_fs", without a
  // line if no file sets it.
  std::string Where(const std::string& path) const;
};

// In search order: /etc/kata-containers/configuration.toml,
// /usr/share/defaults/kata-containers/configuration.toml.
std::vector<std::string> DefaultPaths();

// What the names of annotations begin with that change the configuration.
inline constexpr std::string_view kAnnotationPrefix = "io.katacontainers.config.";

// Reads `explicit_path`, or the first default path that exists (kNotFound names all when none does), then
// every
// *.toml of config.d beside it in name order, later ones winning. A wrong value is kInvalidArgument:
// "FILE:LINE: hypervisor.qemu.shared_fs: 'nfs' is not one of virtio-fs, virtio-9p".
// Paths of kernel, initrd, hypervisor must exist. Values are adjusted to the host as Kata does (CPU counts
// ...).
//
// `annotations` of the container that the sandbox is made for: those named io.katacontainers.config.* change
// the values, where enable_annotations allows it.
Result<Config> Load(const std::optional<std::string>& explicit_path,
                    const std::map<std::string, std::string>& annotations);

}  // namespace kata::config
