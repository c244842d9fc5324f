#include "agent/acceptor.h"

#include <sys/socket.h>
// after <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace kata::agent {
namespace {

// Before the next try when descriptors or memory have run out.
constexpr std::chrono::milliseconds kPause{100};
// At one turn of the loop. Containers can connect to some sockets, and others want their turn, too.
constexpr int kMaxAccepts = 32;

// vsock(7) knows no network namespaces: where the kernel has a loopback for it, every process of a container
// can connect to the agent. Only the host may; the kernel lets nobody else bind its CID.
bool IsTrusted(const sockaddr_storage& peer) {
  return peer.ss_family != AF_VSOCK || reinterpret_cast<const sockaddr_vm&>(peer).svm_cid == VMADDR_CID_HOST;
}

}  // namespace

Acceptor::Acceptor(EventLoop& loop, UniqueFd listening_socket, StreamHandler handler)
    : socket_(loop.context()), pause_(loop.context()), handler_(std::move(handler)) {
  (void)SetNonBlocking(listening_socket.get(), true);
  socket_.assign(listening_socket.Release());
  Await();
}

void Acceptor::Await() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (!error) AcceptAll();
  });
}

void Acceptor::AcceptAll() {
  for (int i = 0; i < kMaxAccepts; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    UniqueFd stream(accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size,
                            SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (stream.valid()) {
      if (IsTrusted(peer)) {
        handler_(std::move(stream));
      } else {
        log::Warning("refused a connection that does not come from the host");
      }
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return Await();
    log::Warning("accept a connection", {{"error", SysError("accept").message()}});
    pause_.expires_after(kPause);
    pause_.async_wait([this](const asio::error_code& error) {
      if (!error) Await();
    });
    return;
  }
  Await();
}

}  // namespace kata::agent
