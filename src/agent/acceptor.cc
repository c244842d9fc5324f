#include "agent/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace kata::agent {
namespace {

// Before the next try when descriptors or memory have run out.
constexpr std::chrono::milliseconds kPause{100};

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
  while (true) {
    UniqueFd stream(accept4(socket_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (stream.valid()) {
      handler_(std::move(stream));
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
}

}  // namespace kata::agent
