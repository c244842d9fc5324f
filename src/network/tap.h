// The host's end of a guest's network card: tap and macvtap devices, whose packets a VMM reads and writes
// through one descriptor per queue; and vhost-net, which does that in the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "linux/netlink/route.h"

namespace kata::network {

// A tap device called `name` in the network namespace of the calling thread: kAlreadyExists if there is such
// a link. With vnet headers; with several queues if `queues` > 1. It vanishes with its last descriptor, that
// of the VMM included.
Result<std::vector<UniqueFd>> CreateTap(const std::string& name, uint32_t queues);

// The queues of the macvtap device `name`, with the link's `index`, in the network namespace of the calling
// thread. The device does not vanish with them (RouteSocket::DeleteLink).
Result<std::vector<UniqueFd>> OpenMacvtap(const std::string& name, int index, uint32_t queues);

// One descriptor of /dev/vhost-net for each queue; none where the host does not have it.
Result<std::vector<UniqueFd>> OpenVhostNet(uint32_t queues);

}  // namespace kata::network
