#include "linux/netlink/event_socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace kata::linux {

Result<UniqueFd> OpenEventSocket(int protocol, uint32_t groups, std::string_view what) {
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

void DrainEventSocket(int fd) {
  char buffer[64];  // the rest of a datagram is dropped
  // ENOBUFS tells once that events were lost (netlink(7)); those behind them follow.
  while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
}

}  // namespace kata::linux
