// Any bytes as a datagram from a netlink socket: nothing outside of it is read, and each message goes through
// every parser of route tables.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "linux/netlink/message.h"
#include "linux/netlink/route.h"

namespace {

namespace netlink = kata::linux::netlink;

void Check(bool condition) {
  if (!condition) abort();
}

void CheckInside(std::string_view outer, std::string_view inner) {
  Check(inner.empty() ||
        (inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view datagram(reinterpret_cast<const char*>(data), size);
  const kata::Result<std::vector<netlink::Message>> messages = netlink::ParseMessages(datagram);
  if (!messages) return 0;
  for (const netlink::Message& message : *messages) {
    CheckInside(datagram, message.payload);
    (void)netlink::ParseAcknowledgement(message);
    (void)kata::linux::ParseLink(message.payload);
    (void)kata::linux::ParseLinkAddress(message.payload);
    (void)kata::linux::ParseNeighbor(message.payload);
    const auto route = kata::linux::ParseRoute(message.payload);
    // What is read can be shown.
    if (route && *route && (*route)->destination) Check(!(*route)->destination->ToString().empty());
  }
  return 0;
}
