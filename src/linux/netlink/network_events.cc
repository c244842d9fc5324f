#include "linux/netlink/network_events.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace kata::linux {

Result<UniqueFd> OpenNetworkEvents() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd.valid()) return SysError("open a socket for network events");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  // Not RTMGRP_NEIGH: neighbours come and go with the traffic; the permanent ones are read with the rest.
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SysError("listen to network events");
  }
  return fd;
}

void DrainNetworkEvents(int fd) {
  char buffer[64];  // the rest of a datagram is dropped
  // ENOBUFS tells once that events were lost (netlink(7)); those behind them follow.
  while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
}

}  // namespace kata::linux
