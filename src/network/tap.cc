#include "network/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <charconv>
#include <cstring>

#include "base/file.h"
#include "linux/mounts.h"

#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

namespace kata::network {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";
constexpr char kVhostNetDevice[] = "/dev/vhost-net";

// "250:3\n" of a device's file `dev` in sysfs.
Result<dev_t> ParseDeviceNumber(std::string_view text) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto second = std::from_chars(first.ptr + 1, end, minor);
    if (second.ec == std::errc()) return makedev(major, minor);
  }
  return MakeError(Code::kDataLoss, "'{}' is no device number", text);
}

// Of the character device that belongs to a macvtap link. Read in a sysfs of our own: each network namespace
// has another view of /sys/class/net, and a mounted one keeps that of who mounted it.
Result<dev_t> MacvtapDeviceNumber(const std::string& name, int index) {
  const UniqueFd sysfs = TRY(linux::CreateMount("sysfs", {}, MOUNT_ATTR_RDONLY));
  const UniqueFd file =
      TRY(OpenAt(sysfs.get(), fmt::format("class/net/{}/tap{}/dev", name, index), O_RDONLY));
  return ParseDeviceNumber(TRY(ReadFd(file.get(), 64)));
}

}  // namespace

Result<std::vector<UniqueFd>> CreateTap(const std::string& name, uint32_t queues) {
  TRY(linux::CheckLinkName(name));
  std::vector<UniqueFd> fds;
  for (uint32_t queue = 0; queue < queues; ++queue) {
    UniqueFd fd = TRY(Open(kTunDevice, O_RDWR));
    ifreq request{};
    int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (queues > 1) flags |= IFF_MULTI_QUEUE;
    if (queue == 0) flags |= IFF_TUN_EXCL;
    request.ifr_flags = static_cast<short>(flags);
    std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
    if (ioctl(fd.get(), TUNSETIFF, &request) < 0) {
      // IFF_TUN_EXCL: EBUSY says that the name is taken (tun_set_iff).
      if (queue == 0 && errno == EBUSY) {
        return MakeError(Code::kAlreadyExists, "create tap device '{}': it exists", name);
      }
      return SysError("create tap device '{}'", name);
    }
    fds.push_back(std::move(fd));
  }
  return fds;
}

Result<std::vector<UniqueFd>> OpenMacvtap(const std::string& name, int index, uint32_t queues) {
  const dev_t number = TRY_CTX(MacvtapDeviceNumber(name, index), "find the device of macvtap '{}'", name);
  // A node of our own, in a file system that nobody else sees: /dev/tapN need not be there, and devices of
  // two network namespaces may claim the same N.
  const UniqueFd directory = TRY(linux::CreateMount("tmpfs", {{"size", "64k"}}, MOUNT_ATTR_NOEXEC));
  if (mknodat(directory.get(), "tap", S_IFCHR | 0600, number) < 0) {
    return SysError("make a node for macvtap '{}'", name);
  }
  std::vector<UniqueFd> fds;
  for (uint32_t queue = 0; queue < queues; ++queue) {
    UniqueFd fd = TRY_CTX(OpenAt(directory.get(), "tap", O_RDWR), "macvtap '{}'", name);
    ifreq request{};
    int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (queues > 1) flags |= IFF_MULTI_QUEUE;
    request.ifr_flags = static_cast<short>(flags);
    if (ioctl(fd.get(), TUNSETIFF, &request) < 0) return SysError("set up macvtap device '{}'", name);
    fds.push_back(std::move(fd));
  }
  return fds;
}

Result<std::vector<UniqueFd>> OpenVhostNet(uint32_t queues) {
  std::vector<UniqueFd> fds;
  for (uint32_t queue = 0; queue < queues; ++queue) {
    Result<UniqueFd> fd = Open(kVhostNetDevice, O_RDWR);
    if (!fd && fd.error().code() == Code::kNotFound) return std::vector<UniqueFd>();
    fds.push_back(TRY(std::move(fd)));
  }
  return fds;
}

}  // namespace kata::network
