#include "hypervisor/console_socket.h"

#include <sys/socket.h>

#include <asio/buffer.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

namespace kata::hypervisor {
namespace {

// Before the next try when descriptors or memory have run out.
constexpr std::chrono::milliseconds kPause{100};

Status Assign(asio::posix::stream_descriptor& descriptor, UniqueFd fd) {
  asio::error_code error;
  descriptor.assign(fd.get(), error);
  if (error) return ErrnoError(error.value(), "watch file descriptor");
  (void)fd.Release();
  return {};
}

void CloseQuietly(asio::posix::stream_descriptor& descriptor) {
  asio::error_code ignored;
  descriptor.close(ignored);
}

}  // namespace

Result<std::shared_ptr<ConsoleSocket>> ConsoleSocket::Create(EventLoop& loop, UniqueFd listener,
                                                             UniqueFd console) {
  std::shared_ptr<ConsoleSocket> socket(new ConsoleSocket(loop));
  // Between the wait and accept(2) a connection may be gone again.
  TRY(SetNonBlocking(listener.get(), true));
  TRY(Assign(socket->listener_, std::move(listener)));
  TRY(Assign(socket->console_, std::move(console)));
  return socket;
}

ConsoleSocket::ConsoleSocket(EventLoop& loop)
    : loop_(loop), listener_(loop.context()), console_(loop.context()), pause_(loop.context()) {}

void ConsoleSocket::Start() {
  AwaitConnection();
}

void ConsoleSocket::AwaitConnection() {
  listener_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](const asio::error_code& error) {
                         if (!error) self->Accept();
                       });
}

void ConsoleSocket::Accept() {
  UniqueFd fd(accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid() && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
    pause_.expires_after(kPause);
    pause_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->AwaitConnection();
    });
    return;
  }
  if (fd.valid()) {
    DropConnection();
    auto connection =
        std::make_shared<Connection>(Connection{asio::posix::stream_descriptor(loop_.context()), {}});
    if (Assign(connection->stream, std::move(fd))) {
      connection_ = std::move(connection);
      ReadConnection();
    }
  }
  AwaitConnection();
}

void ConsoleSocket::ReadConnection() {
  connection_->stream.async_read_some(
      asio::buffer(connection_->input),
      [self = shared_from_this(), from = connection_](const asio::error_code& error, size_t count) {
        if (from != self->connection_) return;
        if (error) return self->DropConnection();
        asio::async_write(self->console_, asio::buffer(from->input, count),
                          [self, from](const asio::error_code& write_error, size_t) {
                            if (!write_error && from == self->connection_) self->ReadConnection();
                          });
      });
}

void ConsoleSocket::DropConnection() {
  if (connection_) CloseQuietly(std::exchange(connection_, nullptr)->stream);
}

void ConsoleSocket::Show(std::string_view bytes) {
  if (!connection_) return;
  (void)send(connection_->stream.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void ConsoleSocket::Close() {
  CloseQuietly(listener_);
  CloseQuietly(console_);
  pause_.cancel();
  DropConnection();
}

}  // namespace kata::hypervisor
