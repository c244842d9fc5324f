#include "linux/netlink/events.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string_view>

namespace kata::linux {
namespace {

constexpr uint32_t kKernelDeviceEvents = 1;  // group 2 is udev's
// Not RTMGRP_NEIGH: neighbours come and go with the traffic; the permanent ones are read with the rest.
constexpr uint32_t kNetworkChanges =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

Result<UniqueFd> OpenEvents(int protocol, uint32_t groups, std::string_view what) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd.valid()) return SysError("open a socket for {}", what);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SysError("listen to {}", what);
  }
  return fd;
}

}  // namespace

Result<UniqueFd> OpenDeviceEvents() {
  return OpenEvents(NETLINK_KOBJECT_UEVENT, kKernelDeviceEvents, "device events");
}

Result<UniqueFd> OpenNetworkEvents() {
  return OpenEvents(NETLINK_ROUTE, kNetworkChanges, "network events");
}

void DrainEvents(int fd) {
  char buffer[64];  // the rest of a datagram is dropped
  // ENOBUFS tells once that events were lost (netlink(7)); those behind them follow.
  while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
}

}  // namespace kata::linux
