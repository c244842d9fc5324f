// ShimChannel: datagrams from and to kata-shim.
#include "sandbox/shim_channel.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/shim_message.h"

namespace kata::sandbox {

ShimChannel::ShimChannel(FdWatcher& watcher, UniqueFd socket, Handlers handlers)
    : watcher_(watcher), socket_(std::move(socket)), handlers_(std::move(handlers)) {}

Status ShimChannel::Start() {
  return WaitForMessage();
}

Status ShimChannel::WaitForMessage() {
  watch_ = TRY(watcher_.Once(socket_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); }));
  return {};
}

void ShimChannel::OnReadable() {
  ShimMessage message{};
  const ssize_t received = recv(socket_.get(), &message, sizeof(message), MSG_DONTWAIT);
  if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR)) {
    handlers_.on_gone();
    return;
  }
  // Before the handler, which may be the end of this object.
  if (const Status waiting = WaitForMessage(); !waiting) {
    log::LogError("signals are not forwarded any more", {{"error", waiting.error().message()}});
  }
  if (received != static_cast<ssize_t>(sizeof(message))) return;
  if (message.type == ShimMessageType::kSignal) {
    handlers_.on_signal(static_cast<int>(message.a));
  } else if (message.type == ShimMessageType::kWindowSize) {
    handlers_.on_window_size(message.a, message.b);
  }
}

void ShimChannel::SendExit(int code) {
  watch_.Cancel();
  if (!socket_) return;
  const ShimMessage message{ShimMessageType::kExit, static_cast<uint32_t>(code), 0};
  // The queue holds nothing else in this direction. kata-shim may be gone; then nobody is left to tell.
  if (send(socket_.get(), &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE) {
    log::Debug("kata-shim was not told the exit code", {{"error", SysError("send").message()}});
  }
  socket_.Reset();
}

}  // namespace kata::sandbox
