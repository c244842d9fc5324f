#include "hypervisor/assets.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace kata::hypervisor {
namespace {

constexpr uint64_t kMib = 1u << 20;

uint64_t RoundUpToMib(uint64_t bytes) {
  return (bytes + kMib - 1) / kMib;
}

// The size of the regular file `path`.
Result<uint64_t> CheckFile(std::string_view what, const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return SysError("{} '{}'", what, path);
  if (!S_ISREG(status.st_mode))
    return MakeError(Code::kInvalidArgument, "{} '{}': not a regular file", what, path);
  if (status.st_size == 0) return MakeError(Code::kInvalidArgument, "{} '{}': empty file", what, path);
  return static_cast<uint64_t>(status.st_size);
}

Status CheckDirectory(std::string_view what, const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return SysError("{} '{}'", what, path);
  if (!S_ISDIR(status.st_mode)) return ErrnoError(ENOTDIR, fmt::format("{} '{}'", what, path));
  return {};
}

}  // namespace

Status CheckAssets(const VmSpec& spec) {
  TRY(CheckFile("hypervisor", spec.vmm_path));
  if (access(spec.vmm_path.c_str(), X_OK) < 0) return SysError("hypervisor '{}'", spec.vmm_path);
  const uint64_t kernel_mib = RoundUpToMib(TRY(CheckFile("guest kernel", spec.kernel)));
  if (kernel_mib >= spec.memory_mib) {
    return MakeError(Code::kInvalidArgument,
                     "guest kernel '{}': its {} MiB do not fit into guest memory of {} MiB", spec.kernel,
                     kernel_mib, spec.memory_mib);
  }
  if (!spec.initrd.empty()) {
    const uint64_t initrd_mib = RoundUpToMib(TRY(CheckFile("guest initrd", spec.initrd)));
    if (kernel_mib + initrd_mib >= spec.memory_mib) {
      return MakeError(
          Code::kInvalidArgument,
          "guest initrd '{}': its {} MiB and the kernel's {} MiB do not fit into guest memory of {} MiB",
          spec.initrd, initrd_mib, kernel_mib, spec.memory_mib);
    }
  }
  if (!spec.image.empty()) TRY(CheckFile("guest image", spec.image));
  if (!spec.firmware.empty()) TRY(CheckFile("firmware", spec.firmware));
  for (const DeviceSpec& device : spec.devices) {
    if (const auto* share = std::get_if<Virtio9pDevice>(&device))
      TRY(CheckDirectory("9p share", share->path));
  }
  return {};
}

}  // namespace kata::hypervisor
