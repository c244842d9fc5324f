#include "linux/netlink/uevent.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace kata::linux {
namespace {

constexpr unsigned kKernelGroup = 1;  // group 2 is udev's

}  // namespace

Result<UniqueFd> OpenUevents() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd.valid()) return SysError("open a socket for device events");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SysError("listen to device events");
  }
  return fd;
}

void DrainUevents(int fd) {
  char buffer[64];  // the rest of a datagram is dropped
  // ENOBUFS tells once that events were lost (netlink(7)); those behind them follow.
  while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
}

}  // namespace kata::linux
