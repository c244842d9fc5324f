#include "hypervisor/console_socket.h"

#include <sys/socket.h>

#include <asio/buffer.hpp>
#include <asio/write.hpp>
#include <utility>

namespace kata::hypervisor {
namespace {

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
  TRY(Assign(socket->console_, std::move(console)));
  const auto take = [weak = socket->weak_from_this()](UniqueFd stream, const sockaddr_storage& /*peer*/,
                                                      const Acceptor::Place& /*place*/) {
    if (const auto self = weak.lock()) self->TakeConnection(std::move(stream));
  };
  socket->acceptor_ = TRY(Acceptor::Create(loop, std::move(listener), take));
  return socket;
}

ConsoleSocket::ConsoleSocket(EventLoop& loop) : loop_(loop), console_(loop.context()) {}

void ConsoleSocket::TakeConnection(UniqueFd stream) {
  DropConnection();
  auto connection =
      std::make_shared<Connection>(Connection{asio::posix::stream_descriptor(loop_.context()), {}});
  if (!Assign(connection->stream, std::move(stream))) return;
  connection_ = std::move(connection);
  ReadConnection();
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
  acceptor_.reset();
  CloseQuietly(console_);
  DropConnection();
}

}  // namespace kata::hypervisor
