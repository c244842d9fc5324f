#include "sandbox/container_devices.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <string_view>

#include "base/file.h"

namespace kata::sandbox {
namespace {

// Documentation/admin-guide/devices.txt.
constexpr int64_t kLoopMajor = 7;
constexpr int64_t kMiscMajor = 10;
struct Number {
  int64_t major;
  int64_t minor;
};
constexpr Number kGuestDevices[] = {
    {1, 3},             // null
    {1, 5},             // zero
    {1, 7},             // full
    {1, 8},             // random
    {1, 9},             // urandom
    {1, 11},            // kmsg
    {5, 0},             // tty
    {5, 1},             // console
    {5, 2},             // ptmx
    {kMiscMajor, 200},  // net/tun
    {kMiscMajor, 229},  // fuse
    {kMiscMajor, 237},  // loop-control
};

bool IsGuests(const oci::Device& device) {
  if (device.type == "p") return true;
  if (device.type != "c" && device.type != "u") return false;
  return std::any_of(std::begin(kGuestDevices), std::end(kGuestDevices), [&](const Number& number) {
    return number.major == device.major && number.minor == device.minor;
  });
}

bool IsForAll(const oci::DeviceRule& rule) {
  return (rule.type.empty() || rule.type == "a") && !rule.major && !rule.minor &&
         (rule.access.empty() || rule.access.size() == 3);
}

// The last rule for all devices counts.
bool MayUseAll(const oci::Linux& linux) {
  if (!linux.resources) return false;
  bool all = false;
  for (const oci::DeviceRule& rule : linux.resources->devices) {
    if (IsForAll(rule)) all = rule.allow;
  }
  return all;
}

bool MayWrite(const oci::Linux& linux, const oci::Device& device) {
  if (!linux.resources) return true;
  for (const oci::DeviceRule& rule : linux.resources->devices) {
    if (rule.allow && rule.type == "b" && rule.major == device.major && rule.minor == device.minor) {
      return rule.access.empty() || rule.access.find('w') != std::string::npos;
    }
  }
  return true;
}

}  // namespace

Result<DevicePlan> PlanDevices(const oci::Linux& linux, const DiskProbe& probe) {
  const bool all = MayUseAll(linux);
  DevicePlan plan;
  for (const oci::Device& device : linux.devices) {
    // With all rights loop devices are set up in the guest, from its loop-control.
    if (IsGuests(device) || (all && device.type == "b" && device.major == kLoopMajor)) {
      plan.devices.push_back(device);
    } else if (all) {
      continue;
    } else if (device.type == "b") {
      if (plan.disks.size() == kMaxDisks) {
        return MakeError(Code::kInvalidArgument,
                         "device '{}': a virtual machine takes {} block devices at most", device.path,
                         kMaxDisks);
      }
      HostDisk disk = TRY_CTX(probe(device.major, device.minor), "device '{}'", device.path);
      disk.read_only = disk.read_only || !MayWrite(linux, device);
      plan.devices.push_back(device);
      plan.disks.push_back({device.path, std::move(disk)});
    } else {
      return MakeError(Code::kInvalidArgument,
                       "device '{}': a character device of the host ({}:{}) cannot be passed to a virtual "
                       "machine; block devices can",
                       device.path, device.major, device.minor);
    }
  }
  return plan;
}

Result<HostDisk> FindHostDisk(int64_t major, int64_t minor) {
  const std::string file = fmt::format("/sys/dev/block/{}:{}/uevent", major, minor);
  const std::string text =
      TRY_CTX(ReadFile(file), "the host has no block device with the number {}:{}", major, minor);
  constexpr std::string_view kKey = "DEVNAME=";
  const size_t begin = text.find(kKey);
  if (begin == std::string::npos) return MakeError(Code::kInternal, "'{}' has no {}", file, kKey);
  const size_t end = text.find('\n', begin);
  HostDisk disk;
  disk.node = "/dev/" + text.substr(begin + kKey.size(), end - begin - kKey.size());
  const UniqueFd fd = TRY(Open(disk.node, O_RDONLY | O_NONBLOCK));
  struct stat info{};
  if (fstat(fd.get(), &info) < 0) return SysError("read status of '{}'", disk.node);
  if (!S_ISBLK(info.st_mode) ||
      info.st_rdev != makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor))) {
    return MakeError(Code::kFailedPrecondition, "'{}' is not the block device {}:{}", disk.node, major,
                     minor);
  }
  int read_only = 0;
  if (ioctl(fd.get(), BLKROGET, &read_only) < 0)
    return SysError("ask '{}' whether it is read-only", disk.node);
  disk.read_only = read_only != 0;
  return disk;
}

}  // namespace kata::sandbox
