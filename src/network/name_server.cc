#include "network/name_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "base/file.h"

namespace kata::network {
namespace {

// Of the thread, not of the process: only one thread is in the container's namespace.
constexpr char kUdpSockets[] = "/proc/thread-self/net/udp";

sockaddr_in Address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kNameServerPort);
  inet_pton(AF_INET, kNameServerAddress, &address.sin_addr);
  return address;
}

}  // namespace

Result<bool> HasNameServer() {
  const std::string sockets = TRY(ReadFile(kUdpSockets));
  // "   12: 0B00007F:9C40 00000000:0000 07 ...": the word as it lies in memory.
  return sockets.find(fmt::format(": {:08X}:", Address().sin_addr.s_addr)) != std::string::npos;
}

Result<UniqueFd> ConnectNameServer(int type) {
  const sockaddr_in address = Address();
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SysError("create socket");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 &&
      errno != EINPROGRESS) {
    return SysError("connect to name server");
  }
  return fd;
}

}  // namespace kata::network
