// Traffic control (tc(8)): the one arrangement of it that joins two links, where all that arrives at one is
// sent out of the other.
#pragma once

#include "linux/netlink/route.h"

namespace kata::linux {

// Gives `link` (an index) an ingress qdisc, the place where filters see what arrives at it. kAlreadyExists
// when it has one, or a clsact qdisc.
Status AddIngressQdisc(RouteSocket& socket, int link);
// With all its filters. One that is not there is success, as is a link that is gone.
Status DeleteIngressQdisc(RouteSocket& socket, int link);

// Takes every packet that arrives at `from`, which has an ingress qdisc, away from the host's own network
// stack and sends it out of `to`. The filter goes with the qdisc.
Status RedirectIngress(RouteSocket& socket, int from, int to);

// --- the requests, for tests ---

netlink::MessageBuilder IngressQdiscRequest(uint16_t type, uint16_t flags, int link);
netlink::MessageBuilder RedirectRequest(int from, int to);

}  // namespace kata::linux
