#include "linux/netlink/network_events.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "linux/netlink/event_socket.h"

namespace kata::linux {

Result<UniqueFd> OpenNetworkEvents() {
  // Not RTMGRP_NEIGH: neighbours come and go with the traffic; the permanent ones are read with the rest.
  return OpenEventSocket(
      NETLINK_ROUTE,
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
      "network events");
}

void DrainNetworkEvents(int fd) {
  DrainEventSocket(fd);
}

}  // namespace kata::linux
