#include "sandbox/name_relay.h"

#include <sys/socket.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "network/name_server.h"

namespace kata::sandbox {
namespace {

// As many as Docker's name server passes on at a time.
constexpr size_t kMaxLookups = 100;
// Longer than resolvers wait for an answer (resolv.conf(5): 5 s, twice), which may come late.
constexpr std::chrono::seconds kLookupTime{15};
constexpr size_t kMaxMessageBytes = UINT16_MAX;

// RFC 1035, 4.1.1: a header of twelve bytes, with the flags in the third and fourth.
constexpr size_t kHeaderBytes = 12;

// The answer "server failure" to a query; empty to what is none.
std::string ServerFailure(std::string query) {
  constexpr char kResponse = '\x80';
  constexpr char kRecursionAvailable = '\x80';
  constexpr char kServerFailure = 2;
  if (query.size() < kHeaderBytes) return {};
  query[2] = static_cast<char>(query[2] | kResponse);
  query[3] = kRecursionAvailable | kServerFailure;
  return query;
}

}  // namespace

// One query at the name server: over UDP a datagram each way, over TCP messages behind their length.
class NameRelay::Lookup : public std::enable_shared_from_this<Lookup> {
 public:
  using Callback = std::function<void(const std::shared_ptr<Lookup>&, std::string answer)>;

  Lookup(EventLoop& thread, NameQuery query, Callback callback)
      : query_(std::move(query)),
        callback_(std::move(callback)),
        socket_(thread.context()),
        timer_(thread.context()) {}

  void Begin() {
    Result<UniqueFd> socket = network::ConnectNameServer(query_.stream ? SOCK_STREAM : SOCK_DGRAM);
    if (!socket) return Fail(socket.error().message());
    socket_.assign(socket->Release());
    timer_.expires_after(kLookupTime);
    timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
      if (!error) self->Fail("no answer");
    });
    if (query_.stream) {
      Send();
    } else if (send(socket_.native_handle(), query_.message.data(), query_.message.size(), MSG_NOSIGNAL) <
               0) {
      Fail(SysError("send").message());
    } else {
      AwaitDatagram();
    }
  }

  void Cancel() {
    callback_ = nullptr;
    Close();
  }

 private:
  void AwaitDatagram() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](const std::error_code& error) {
                         if (error) return self->Fail(error.message());
                         self->ReadDatagram();
                       });
  }

  void ReadDatagram() {
    message_.resize(kMaxMessageBytes);
    const ssize_t length = recv(socket_.native_handle(), message_.data(), message_.size(), 0);
    if (length < 0 && errno == EAGAIN) return AwaitDatagram();  // its checksum was wrong
    if (length < 0) return Fail(SysError("receive").message());
    message_.resize(static_cast<size_t>(length));
    End(std::move(message_));
  }

  void Send() {
    output_ = {static_cast<char>(query_.message.size() >> 8), static_cast<char>(query_.message.size())};
    output_ += query_.message;
    asio::async_write(socket_, asio::buffer(output_),
                      [self = shared_from_this()](const std::error_code& error, size_t) {
                        if (error) return self->Fail(error.message());
                        self->ReadLength();
                      });
  }

  void ReadLength() {
    asio::async_read(socket_, asio::buffer(length_),
                     [self = shared_from_this()](const std::error_code& error, size_t) {
                       if (error) return self->Fail(error.message());
                       self->message_.resize(static_cast<size_t>(self->length_[0]) << 8 | self->length_[1]);
                       self->ReadMessage();
                     });
  }

  void ReadMessage() {
    asio::async_read(socket_, asio::buffer(message_),
                     [self = shared_from_this()](const std::error_code& error, size_t) {
                       if (error) return self->Fail(error.message());
                       self->End(std::move(self->message_));
                     });
  }

  void Fail(const std::string& reason) {
    if (!callback_) return;
    log::Debug("a name of the guest was not looked up", {{"error", reason}});
    End(ServerFailure(query_.message));
  }

  void End(std::string answer) {
    Close();
    if (const Callback callback = std::exchange(callback_, nullptr))
      callback(shared_from_this(), std::move(answer));
  }

  void Close() {
    timer_.cancel();
    if (socket_.is_open()) socket_.close();
  }

  const NameQuery query_;
  Callback callback_;
  asio::posix::stream_descriptor socket_;
  asio::steady_timer timer_;
  std::array<uint8_t, 2> length_{};
  std::string message_;
  std::string output_;
};

Result<std::shared_ptr<NameRelay>> NameRelay::Start(EventLoop& thread, Post post,
                                                    std::shared_ptr<AgentClient> agent) {
  TRY(agent->ListenForNames(network::kNameServerAddress, network::kNameServerPort));
  std::shared_ptr<NameRelay> relay(new NameRelay(thread, std::move(post), std::move(agent)));
  relay->AwaitQuery();
  return relay;
}

NameRelay::~NameRelay() {
  for (const std::shared_ptr<Lookup>& lookup : lookups_) lookup->Cancel();
}

void NameRelay::AwaitQuery() {
  if (awaiting_ || lookups_.size() + answers_ >= kMaxLookups) return;
  awaiting_ = true;
  agent_->NextNameQuery([weak = weak_from_this(), post = post_](Result<NameQuery> query) {
    // The guest has gone, and its agent with it.
    if (!query) return;
    post([weak, query = std::move(*query)] {
      if (const std::shared_ptr<NameRelay> self = weak.lock()) self->OnQuery(query);
    });
  });
}

void NameRelay::OnQuery(const NameQuery& query) {
  awaiting_ = false;
  if (query.message.size() >= kHeaderBytes && query.message.size() <= kMaxMessageBytes) {
    const auto lookup = std::make_shared<Lookup>(
        thread_, query,
        [weak = weak_from_this(), id = query.id](const std::shared_ptr<Lookup>& ended, std::string answer) {
          if (const std::shared_ptr<NameRelay> self = weak.lock()) self->Finish(ended, id, std::move(answer));
        });
    lookups_.insert(lookup);
    lookup->Begin();
  }
  AwaitQuery();
}

void NameRelay::Finish(const std::shared_ptr<Lookup>& lookup, uint64_t id, std::string answer) {
  lookups_.erase(lookup);
  ++answers_;
  agent_->AnswerNameQuery(id, std::move(answer), [weak = weak_from_this(), post = post_](const Status&) {
    post([weak] {
      const std::shared_ptr<NameRelay> self = weak.lock();
      if (!self) return;
      --self->answers_;
      self->AwaitQuery();
    });
  });
}

}  // namespace kata::sandbox
