#include "linux/netlink/uevent.h"

#include <linux/netlink.h>

#include "linux/netlink/event_socket.h"

namespace kata::linux {
namespace {

constexpr unsigned kKernelGroup = 1;  // group 2 is udev's

}  // namespace

Result<UniqueFd> OpenUevents() {
  return OpenEventSocket(NETLINK_KOBJECT_UEVENT, kKernelGroup, "device events");
}

void DrainUevents(int fd) {
  DrainEventSocket(fd);
}

}  // namespace kata::linux
