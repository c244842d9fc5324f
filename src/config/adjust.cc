// What depends on several values, or on the host: checked and completed after all files are read.
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/file.h"
#include "config/loader.h"

namespace kata::config {
namespace {

constexpr uint32_t kMaxVcpus = 240;  // of the q35 board without an interrupt remapping device
constexpr uint64_t kMib = 1u << 20;
// The kernel takes 2047 bytes (COMMAND_LINE_SIZE in arch/x86/include/asm/setup.h), with our own words in
// front.
constexpr size_t kMaxKernelParams = 1400;

Result<struct stat> StatFile(const std::string& path) {
  if (!path.starts_with('/')) return MakeError(Code::kInvalidArgument, "'{}' is not an absolute path", path);
  struct stat info{};
  if (stat(path.c_str(), &info) < 0) {
    const int error = errno;
    return ErrnoError(error, fmt::format("'{}'", path)).WithCode(Code::kInvalidArgument);
  }
  return info;
}

Status CheckRegularFile(const std::string& path) {
  const struct stat info = TRY(StatFile(path));
  if (!S_ISREG(info.st_mode)) return MakeError(Code::kInvalidArgument, "'{}' is not a regular file", path);
  return {};
}

Status CheckExecutable(const std::string& path) {
  TRY(CheckRegularFile(path));
  if (access(path.c_str(), X_OK) < 0) {
    const int error = errno;
    return ErrnoError(error, fmt::format("execute '{}'", path)).WithCode(Code::kInvalidArgument);
  }
  return {};
}

// `path`, or if it is empty the first of `places` that exists.
Status CheckProgram(std::string& path, const std::vector<std::string>& places) {
  if (!path.empty()) return CheckExecutable(path);
  for (const std::string& place : places) {
    if (!CheckExecutable(place)) continue;
    path = place;
    return {};
  }
  return MakeError(Code::kInvalidArgument, "it is not set, and there is no '{}'",
                   fmt::join(places, "' or '"));
}

}  // namespace

std::string Config::Where(const std::string& path) const {
  const auto location = locations.find(path);
  return fmt::format("{}: {}", location == locations.end() ? file : location->second, path);
}

Host Host::Detect() {
  Host host;
  // Of the machine where it has more than the set can hold.
  host.cpus = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0 && CPU_COUNT(&usable) > 0) {
    host.cpus = static_cast<uint32_t>(CPU_COUNT(&usable));
  }
  host.memory_mib = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / kMib;
  host.hypervisor_paths = {"/usr/bin/qemu-system-x86_64"};
  // Debian 12 and before; Debian 13.
  host.virtio_fs_daemon_paths = {"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"};
  return host;
}

std::string Loader::PathOf(Section section, std::string_view key) const {
  return fmt::format("{}.{}", SectionPath(section, config_.hypervisor_name), key);
}

std::string Loader::Where(Section section, std::string_view key) const {
  return config_.Where(PathOf(section, key));
}

Result<Config> Loader::Finish() {
  if (config_.hypervisor_name.empty()) {
    return MakeError(Code::kInvalidArgument, "{}: there is no table [hypervisor.{}]", config_.file,
                     fmt::join(HypervisorNames(), "] or [hypervisor."));
  }
  AdjustCounts();
  TRY(CheckPrograms());
  TRY(CheckEntropySource());
  TRY(CheckKernelParameters());
  TRY(CheckGuestFiles());
  TRY(CheckMemory());
  TRY(CheckBindMounts());
  TRY(CheckEnableAnnotations());
  WarnOfDebugConsole();
  // The options would still point into this object.
  return config_;
}

void Loader::AdjustCounts() {
  HypervisorConfig& hypervisor = config_.hypervisor;
  hypervisor.default_vcpus = std::min(hypervisor.default_vcpus, kMaxVcpus);
  if (hypervisor.default_max_vcpus == 0) hypervisor.default_max_vcpus = host_.cpus;
  hypervisor.default_max_vcpus =
      std::clamp(hypervisor.default_max_vcpus, hypervisor.default_vcpus, kMaxVcpus);
}

Status Loader::CheckPrograms() {
  HypervisorConfig& hypervisor = config_.hypervisor;
  TRY_CTX(CheckProgram(hypervisor.path, host_.hypervisor_paths), "{}", Where(Section::kHypervisor, "path"));
  if (hypervisor.shared_fs != "virtio-fs") return {};
  TRY_CTX(CheckProgram(hypervisor.virtio_fs_daemon, host_.virtio_fs_daemon_paths), "{}",
          Where(Section::kHypervisor, "virtio_fs_daemon"));
  const uint32_t queue_size = hypervisor.virtio_fs_queue_size;
  if ((queue_size & (queue_size - 1)) != 0) {
    return MakeError(Code::kInvalidArgument, "{}: {} is not a power of two",
                     Where(Section::kHypervisor, "virtio_fs_queue_size"), queue_size);
  }
  return {};
}

Status Loader::CheckEntropySource() {
  const std::string& source = config_.hypervisor.entropy_source;
  if (source.empty()) return {};  // QEMU asks the host's kernel
  const std::string where = Where(Section::kHypervisor, "entropy_source");
  const struct stat info = TRY_CTX(StatFile(source), "{}", where);
  if (S_ISDIR(info.st_mode)) {
    return MakeError(Code::kInvalidArgument, "{}: '{}' is a directory", where, source);
  }
  return {};
}

Status Loader::CheckKernelParameters() {
  const size_t size = config_.hypervisor.kernel_params.size();
  if (size <= kMaxKernelParams) return {};
  return MakeError(Code::kInvalidArgument, "{}: {} bytes are more than {}",
                   Where(Section::kHypervisor, "kernel_params"), size, kMaxKernelParams);
}

Status Loader::CheckGuestFiles() {
  const HypervisorConfig& hypervisor = config_.hypervisor;
  if (hypervisor.kernel.empty()) {
    return MakeError(Code::kInvalidArgument, "{}: it is not set", Where(Section::kHypervisor, "kernel"));
  }
  TRY_CTX(CheckRegularFile(hypervisor.kernel), "{}", Where(Section::kHypervisor, "kernel"));
  if (hypervisor.image.empty() == hypervisor.initrd.empty()) {
    return MakeError(Code::kInvalidArgument, "{}: {}", Where(Section::kHypervisor, "initrd"),
                     hypervisor.image.empty() ? "neither 'image' nor 'initrd' is set"
                                              : "both 'image' and 'initrd' are set");
  }
  if (!hypervisor.image.empty()) {
    TRY_CTX(CheckRegularFile(hypervisor.image), "{}", Where(Section::kHypervisor, "image"));
  }
  if (!hypervisor.initrd.empty()) {
    TRY_CTX(CheckRegularFile(hypervisor.initrd), "{}", Where(Section::kHypervisor, "initrd"));
  }
  if (!hypervisor.firmware.empty()) {
    TRY_CTX(CheckRegularFile(hypervisor.firmware), "{}", Where(Section::kHypervisor, "firmware"));
  }
  return {};
}

Status Loader::CheckMemory() {
  HypervisorConfig& hypervisor = config_.hypervisor;
  const uint64_t memory_mib = hypervisor.default_memory_mib;
  if (memory_mib > host_.memory_mib) {
    return MakeError(Code::kInvalidArgument, "{}: {} MiB is more than the host's {} MiB",
                     Where(Section::kHypervisor, "default_memory"), memory_mib, host_.memory_mib);
  }
  uint64_t& max_mib = hypervisor.default_max_memory_mib;
  if (max_mib == 0 || max_mib > host_.memory_mib) max_mib = host_.memory_mib;
  max_mib = std::max(max_mib, memory_mib);

  if (hypervisor.initrd.empty()) return {};
  const struct stat initrd =
      TRY_CTX(StatFile(hypervisor.initrd), "{}", Where(Section::kHypervisor, "initrd"));
  // The kernel unpacks it into memory beside the packed copy.
  const uint64_t initrd_mib = static_cast<uint64_t>(initrd.st_size) / kMib + 1;
  if (initrd_mib >= memory_mib) {
    return MakeError(
        Code::kInvalidArgument, "{}: {} MiB of memory is too small for the initrd '{}' of {} MiB",
        Where(Section::kHypervisor, "default_memory"), memory_mib, hypervisor.initrd, initrd_mib);
  }
  return {};
}

Status Loader::CheckBindMounts() {
  std::set<std::string> names;
  for (const std::string& path : config_.runtime.sandbox_bind_mounts) {
    const std::string where = Where(Section::kRuntime, "sandbox_bind_mounts");
    (void)TRY_CTX(StatFile(path), "{}", where);
    // The guest sees it under its last part.
    const std::string name = path.substr(path.find_last_of('/') + 1);
    if (name.empty() || name == "." || name == "..") {
      return MakeError(Code::kInvalidArgument, "{}: '{}' does not end in a name", where, path);
    }
    if (!names.insert(name).second) {
      return MakeError(Code::kInvalidArgument, "{}: two paths end in '{}'", where, name);
    }
  }
  return {};
}

void Loader::WarnOfDebugConsole() {
  if (!config_.agent.debug_console_enabled || config_.hypervisor.initrd.empty()) return;
  config_.warnings.push_back(fmt::format(
      "{}: it needs a guest with a shell, which the shipped initrd does not have: use 'image', or an "
      "initrd of your own",
      Where(Section::kAgent, "debug_console_enabled")));
}

}  // namespace kata::config
