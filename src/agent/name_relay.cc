#include "agent/name_relay.h"

#include <sys/socket.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/log.h"

namespace kata::agent {
namespace {

// RFC 1035 allows 64 KiB over TCP, but a question is one name of at most 255 bytes.
constexpr size_t kMaxQueryBytes = 4096;
constexpr size_t kMaxQueries = 128;
constexpr size_t kMaxStreams = 32;
constexpr int kBacklog = 32;
// For both protocols to get the same port.
constexpr int kBindAttempts = 16;

struct Sockets {
  UniqueFd datagram;
  UniqueFd stream;
  uint16_t port = 0;
};

Result<UniqueFd> Bind(int type, sockaddr_in address) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SysError("create socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return SysError("bind");
  }
  return fd;
}

// On any port of the address.
Result<Sockets> BindAnyPort(sockaddr_in address) {
  for (int attempt = 1;; ++attempt) {
    Sockets sockets;
    address.sin_port = 0;
    sockets.stream = TRY(Bind(SOCK_STREAM, address));
    socklen_t size = sizeof address;
    if (getsockname(sockets.stream.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) {
      return SysError("getsockname");
    }
    sockets.port = ntohs(address.sin_port);
    Result<UniqueFd> datagram = Bind(SOCK_DGRAM, address);
    if (!datagram && attempt < kBindAttempts) continue;
    sockets.datagram = TRY(std::move(datagram));
    if (listen(sockets.stream.get(), kBacklog) < 0) return SysError("listen");
    return sockets;
  }
}

}  // namespace

// A TCP connection: messages behind their length in two bytes (RFC 1035, 4.2.2), one after the other.
class NameRelay::Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(NameRelay& relay, UniqueFd socket) : relay_(relay), socket_(relay.loop_.context()) {
    socket_.assign(socket.Release());
  }

  void ReadQuery() {
    asio::async_read(socket_, asio::buffer(length_),
                     [self = shared_from_this()](const asio::error_code& error, size_t) {
                       if (error) return self->Close();
                       const size_t length = static_cast<size_t>(self->length_[0]) << 8 | self->length_[1];
                       if (length == 0 || length > kMaxQueryBytes) return self->Close();
                       self->ReadMessage(length);
                     });
  }

  void Answer(const std::string& message) {
    output_ = {static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
    output_ += message;
    asio::async_write(socket_, asio::buffer(output_),
                      [self = shared_from_this()](const asio::error_code& error, size_t) {
                        if (error) return self->Close();
                        self->ReadQuery();
                      });
  }

  // Ends what is under way. The relay forgets it.
  void Close() {
    if (!socket_.is_open()) return;
    socket_.close();
    std::erase(relay_.streams_, shared_from_this());
  }

 private:
  void ReadMessage(size_t length) {
    message_.resize(length);
    asio::async_read(socket_, asio::buffer(message_),
                     [self = shared_from_this()](const asio::error_code& error, size_t) {
                       if (error) return self->Close();
                       self->relay_.Add(self, std::move(self->message_));
                     });
  }

  NameRelay& relay_;
  asio::posix::stream_descriptor socket_;
  std::array<uint8_t, 2> length_{};
  std::string message_;
  std::string output_;
};

Status NameRelay::Listen(const sockaddr_in& address) {
  if (address_) {
    const bool same =
        address_->sin_addr.s_addr == address.sin_addr.s_addr && address_->sin_port == address.sin_port;
    return same ? Status() : Error(Code::kFailedPrecondition, "another address is listened to already");
  }
  Sockets sockets = TRY(BindAnyPort(address));
  redirect_ = TRY(PortRedirect::Create(cgroup_root_, sockets.stream.get(), address, sockets.port));
  address_ = address;
  datagrams_.emplace(loop_.context(), sockets.datagram.Release());
  AwaitDatagrams();
  // Without a limit: when there are too many streams, the oldest is closed.
  acceptor_ = TRY(Acceptor::Create(loop_, std::move(sockets.stream),
                                   [this](UniqueFd socket, const sockaddr_storage&, const Acceptor::Place&) {
                                     AddStream(std::move(socket));
                                   }));
  return {};
}

void NameRelay::AwaitDatagrams() {
  datagrams_->async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    ReadDatagrams();
    AwaitDatagrams();
  });
}

void NameRelay::ReadDatagrams() {
  // So many at once: the loop has others to serve.
  for (size_t count = 0; count < kMaxQueries; ++count) {
    char buffer[kMaxQueryBytes];
    sockaddr_in sender{};
    socklen_t size = sizeof sender;
    const ssize_t length = recvfrom(datagrams_->native_handle(), buffer, sizeof buffer, MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&sender), &size);
    if (length < 0) return;
    if (length == 0 || static_cast<size_t>(length) > sizeof buffer) continue;
    Add(sender, std::string(buffer, static_cast<size_t>(length)));
  }
}

void NameRelay::AddStream(UniqueFd socket) {
  if (streams_.size() == kMaxStreams) streams_.front()->Close();
  streams_.push_back(std::make_shared<Stream>(*this, std::move(socket)));
  streams_.back()->ReadQuery();
}

void NameRelay::Add(Sender sender, std::string message) {
  if (senders_.size() == kMaxQueries) {
    const uint64_t oldest = senders_.begin()->first;
    senders_.erase(oldest);
    std::erase_if(queries_, [oldest](const Query& query) { return query.id == oldest; });
  }
  const uint64_t id = next_id_++;
  const bool stream = std::holds_alternative<std::weak_ptr<Stream>>(sender);
  senders_.emplace(id, std::move(sender));
  queries_.push_back({.id = id, .stream = stream, .message = std::move(message)});
  Deliver();
}

void NameRelay::Next(uint64_t connection_id, QueryCallback callback) {
  waiters_.push_back({connection_id, std::move(callback)});
  Deliver();
}

void NameRelay::Deliver() {
  while (!queries_.empty() && !waiters_.empty()) {
    const Waiter waiter = std::move(waiters_.front());
    waiters_.pop_front();
    const Query query = std::move(queries_.front());
    queries_.pop_front();
    waiter.callback(query);
  }
}

void NameRelay::Answer(uint64_t id, const std::string& message) {
  const auto node = senders_.extract(id);
  if (node.empty() || message.empty() || message.size() > UINT16_MAX) return;
  if (const auto* address = std::get_if<sockaddr_in>(&node.mapped())) {
    // One that does not fit is lost, as datagrams may be.
    (void)sendto(datagrams_->native_handle(), message.data(), message.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(address), sizeof *address);
  } else if (const auto stream = std::get<std::weak_ptr<Stream>>(node.mapped()).lock()) {
    stream->Answer(message);
  }
}

void NameRelay::DropConnection(uint64_t connection_id) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.connection_id == connection_id; });
}

}  // namespace kata::agent
