#include "base/acceptor.h"

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace kata {
namespace {

// Before the next try when descriptors or memory have run out: the connection stays pending, and waiting for
// it would return at once.
constexpr std::chrono::milliseconds kPause{100};

}  // namespace

class Acceptor::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, Handler handler, size_t max_open)
      : socket_(loop.context()), pause_(loop.context()), handler_(std::move(handler)), max_open_(max_open) {}

  Status Open(UniqueFd listening_socket) {
    TRY(SetNonBlocking(listening_socket.get(), true));
    asio::error_code error;
    socket_.assign(listening_socket.get(), error);
    if (error) return MakeError(Code::kInternal, "watch a listening socket: {}", error.message());
    (void)listening_socket.Release();
    Await();
    return {};
  }

  void Close() {
    socket_.close();
    pause_.cancel();
  }

 private:
  void Await();
  // One at a turn of the loop: others want theirs.
  void Accept();
  void Pause();
  Place TakePlace();

  asio::posix::stream_descriptor socket_;
  asio::steady_timer pause_;
  Handler handler_;
  const size_t max_open_;
  size_t open_ = 0;
  bool waiting_ = false;  // for a connection, or for the pause to be over
};

void Acceptor::Impl::Await() {
  if (waiting_ || open_ >= max_open_ || !socket_.is_open()) return;
  waiting_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [weak = weak_from_this()](const asio::error_code& error) {
                       const std::shared_ptr<Impl> self = weak.lock();
                       if (self && !error) self->Accept();
                     });
}

void Acceptor::Impl::Accept() {
  waiting_ = false;
  if (!socket_.is_open()) return;
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  UniqueFd stream(accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (stream) {
    handler_(std::move(stream), peer, TakePlace());
  } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
    log::Warning("accept a connection", {{"error", SysError("accept").message()}});
    Pause();
  }
  Await();
}

void Acceptor::Impl::Pause() {
  waiting_ = true;
  pause_.expires_after(kPause);
  pause_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<Impl> self = weak.lock();
    if (!self || error) return;
    self->waiting_ = false;
    self->Await();
  });
}

Acceptor::Place Acceptor::Impl::TakePlace() {
  ++open_;
  return {nullptr, [weak = weak_from_this()](std::nullptr_t) {
            const std::shared_ptr<Impl> self = weak.lock();
            if (!self) return;
            --self->open_;
            self->Await();
          }};
}

Result<std::unique_ptr<Acceptor>> Acceptor::Create(EventLoop& loop, UniqueFd listening_socket,
                                                   Handler handler, size_t max_open) {
  auto impl = std::make_shared<Impl>(loop, std::move(handler), max_open);
  TRY(impl->Open(std::move(listening_socket)));
  return std::unique_ptr<Acceptor>(new Acceptor(std::move(impl)));
}

Acceptor::~Acceptor() {
  impl_->Close();
}

}  // namespace kata
