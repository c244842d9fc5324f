#include "ttrpc/server.h"

#include <sys/socket.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "base/acceptor.h"
#include "base/log.h"
#include "base/utf8.h"
#include "proto/ttrpc.pb.h"
#include "ttrpc/connection.h"

namespace kata::ttrpc {
namespace {

constexpr Connection::Limits kLimits{.stop_reading_above = 8u << 20, .close_above = 64u << 20};
constexpr size_t kMaxCallsInFlight = 4096;
constexpr size_t kMaxRequestBytesInFlight = 64u << 20;
constexpr size_t kMaxErrorMessage = 64u << 10;

// A response frame. What cannot be sent becomes an error that can.
std::string EncodeResponse(uint32_t stream_id, Result<std::string> result) {
  ::ttrpc::Response response;
  if (result) {
    response.set_payload(std::move(*result));
  } else {
    response.mutable_status()->set_code(static_cast<int>(result.error().code()));
    response.mutable_status()->set_message(
        ReplaceInvalidUtf8(std::string_view(result.error().message()).substr(0, kMaxErrorMessage)));
  }
  Result<std::string> frame = EncodeFrame(stream_id, FrameType::kResponse, 0, response.SerializeAsString());
  if (frame) return std::move(*frame);
  return EncodeResponse(stream_id, std::move(frame).error().Wrap("send the response"));
}

// Numbers begin again when they are used up, which takes half of them some days of much output (RFC
// 1982, 3.2).
bool IsLater(uint32_t stream_id, uint32_t last_stream_id) {
  return static_cast<int32_t>(stream_id - last_stream_id) > 0;
}

// The way to the loop for those who may outlive the server.
class LoopGate {
 public:
  explicit LoopGate(EventLoop& loop) : loop_(&loop) {}
  // Runs `function` on the loop thread: at once when that is the caller's. Never after Shut().
  template <typename F>
  void Run(F function) {
    {
      const std::lock_guard lock(mutex_);
      if (loop_ == nullptr) return;
      if (!loop_->IsLoopThread()) {
        loop_->Post(std::move(function));
        return;
      }
    }
    function();
  }
  void Shut() {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }

 private:
  std::mutex mutex_;
  EventLoop* loop_;
};

// One connection and its calls.
struct Peer {
  std::shared_ptr<Connection> connection;
  uint64_t id = 0;
  uint32_t last_stream_id = 0;
  std::map<uint32_t, size_t> calls_in_flight;  // stream: bytes of its request
  size_t request_bytes_in_flight = 0;
  std::function<void(uint64_t)> on_closed;
};

}  // namespace

// Touched by the loop thread only, save for the members before the first Serve().
class Server::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(EventLoop& loop) : loop_(loop), gate_(std::make_shared<LoopGate>(loop)) {}

  void AddHandler(std::string service, std::string method, RawHandler handler) {
    handlers_[std::move(service)][std::move(method)] = std::move(handler);
  }
  EventLoop& loop() { return loop_; }
  LoopGate& gate() { return *gate_; }

  void Serve(UniqueFd stream, std::function<void(uint64_t)> on_closed);
  void Listen(UniqueFd socket, size_t max_connections);
  void Answer(uint64_t connection_id, uint32_t stream_id, Result<std::string> result);
  void Stop();

 private:
  void OnFrame(uint64_t connection_id, Frame frame);
  void OnClosed(uint64_t connection_id, const Error& reason);
  void Call(Peer& peer, uint32_t stream_id, const std::string& data);
  Result<RawHandler*> FindHandler(const std::string& service, const std::string& method);

  EventLoop& loop_;
  const std::shared_ptr<LoopGate> gate_;
  std::map<std::string, std::map<std::string, RawHandler>> handlers_;
  std::map<uint64_t, std::shared_ptr<Peer>> peers_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  uint64_t last_connection_id_ = 0;
  bool stopped_ = false;
};

// --- responders
// ----------------------------------------------------------------------------------------------------

class RawResponder::Impl {
 public:
  Impl(std::shared_ptr<LoopGate> gate, std::weak_ptr<Server::Impl> server, uint64_t connection_id,
       uint32_t stream_id)
      : gate_(std::move(gate)),
        server_(std::move(server)),
        connection_id_(connection_id),
        stream_id_(stream_id) {}

  void Respond(Result<std::string> result) {
    gate_->Run([server = server_, connection_id = connection_id_, stream_id = stream_id_,
                result = std::move(result)]() mutable {
      if (const auto impl = server.lock()) impl->Answer(connection_id, stream_id, std::move(result));
    });
  }

 private:
  const std::shared_ptr<LoopGate> gate_;
  const std::weak_ptr<Server::Impl> server_;
  const uint64_t connection_id_;
  const uint32_t stream_id_;
};

RawResponder::RawResponder(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RawResponder::RawResponder(RawResponder&&) noexcept = default;

RawResponder& RawResponder::operator=(RawResponder&& other) noexcept {
  RawResponder old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

RawResponder::~RawResponder() {
  if (impl_) impl_->Respond(Error(Code::kInternal, "the handler gave no answer"));
}

void RawResponder::Respond(Result<std::string> payload) {
  if (const std::shared_ptr<Impl> impl = std::exchange(impl_, nullptr)) impl->Respond(std::move(payload));
}

// --- connections
// ---------------------------------------------------------------------------------------------------

void Server::Impl::Serve(UniqueFd stream, std::function<void(uint64_t)> on_closed) {
  if (stopped_) return;
  const auto peer = std::make_shared<Peer>();
  peer->id = ++last_connection_id_;
  peer->on_closed = std::move(on_closed);
  const uint64_t id = peer->id;
  peer->connection = std::make_shared<Connection>(
      loop_, std::move(stream), kLimits,
      Connection::Callbacks{.on_frame =
                                [weak = weak_from_this(), id](Frame frame) {
                                  if (const auto self = weak.lock()) self->OnFrame(id, std::move(frame));
                                },
                            .on_closed =
                                [weak = weak_from_this(), id](const Error& reason) {
                                  if (const auto self = weak.lock()) self->OnClosed(id, reason);
                                }});
  peers_[id] = peer;
  peer->connection->Start();
}

void Server::Impl::OnClosed(uint64_t connection_id, const Error& reason) {
  const auto found = peers_.find(connection_id);
  if (stopped_ || found == peers_.end()) return;
  const std::shared_ptr<Peer> peer = std::move(found->second);
  peers_.erase(found);
  log::Debug("ttrpc connection closed", {{"connection", connection_id}, {"reason", reason.message()}});
  if (peer->on_closed) peer->on_closed(connection_id);
}

void Server::Impl::OnFrame(uint64_t connection_id, Frame frame) {
  const auto found = peers_.find(connection_id);
  if (stopped_ || found == peers_.end()) return;
  const std::shared_ptr<Peer> peer = found->second;
  const uint32_t id = frame.stream_id;
  const bool is_new = id % 2 == 1 && IsLater(id, peer->last_stream_id) && !peer->calls_in_flight.contains(id);
  // What follows the opening of a stream that was refused.
  if (frame.type == std::to_underlying(FrameType::kData) && id % 2 == 1 && !is_new) return;
  if (frame.type != std::to_underlying(FrameType::kRequest) || !is_new) {
    peer->connection->Close(MakeError(
        Code::kInvalidArgument, "the peer broke the protocol: frame type {} on stream {}", frame.type, id));
    return;
  }
  peer->last_stream_id = id;
  const auto refuse = [&](Code code, const char* why) {
    peer->connection->Send(EncodeResponse(id, Error(code, why)));
  };
  if (frame.oversize) {
    refuse(Code::kResourceExhausted, "the request is longer than the 4 MiB that ttrpc allows");
  } else if ((frame.flags & kFlagRemoteOpen) != 0) {
    refuse(Code::kUnimplemented, "streaming calls are not supported");
  } else if (peer->calls_in_flight.size() >= kMaxCallsInFlight ||
             peer->request_bytes_in_flight + frame.data.size() > kMaxRequestBytesInFlight) {
    refuse(Code::kResourceExhausted, "too many calls in flight");
  } else {
    peer->calls_in_flight[id] = frame.data.size();
    peer->request_bytes_in_flight += frame.data.size();
    Call(*peer, id, frame.data);
  }
}

void Server::Impl::Call(Peer& peer, uint32_t stream_id, const std::string& data) {
  RawResponder responder(std::make_shared<RawResponder::Impl>(gate_, weak_from_this(), peer.id, stream_id));
  ::ttrpc::Request request;
  if (!request.ParseFromString(data)) {
    responder.Respond(Error(Code::kInvalidArgument, "the ttrpc request does not parse"));
    return;
  }
  Result<RawHandler*> handler = FindHandler(request.service(), request.method());
  if (!handler) {
    responder.Respond(std::move(handler).error());
    return;
  }
  CallContext context{.deadline = {}, .connection_id = peer.id};
  if (request.timeout_nano() > 0) {
    context.deadline = Deadline::After(std::chrono::nanoseconds(request.timeout_nano()));
  }
  try {
    (**handler)(context, std::move(*request.mutable_payload()), std::move(responder));
  } catch (const std::exception& exception) {
    // The responder went with the handler's arguments and has answered.
    log::Debug("exception in a ttrpc handler", {{"method", request.method()}, {"what", exception.what()}});
  }
}

Result<Server::RawHandler*> Server::Impl::FindHandler(const std::string& service, const std::string& method) {
  constexpr size_t kMaxNameInMessage = 100;
  const auto methods = handlers_.find(service);
  if (methods == handlers_.end()) {
    return MakeError(Code::kUnimplemented, "unknown service '{}'", ToPlainLine(service, kMaxNameInMessage));
  }
  const auto handler = methods->second.find(method);
  if (handler == methods->second.end()) {
    return MakeError(Code::kUnimplemented, "service '{}' has no method '{}'", service,
                     ToPlainLine(method, kMaxNameInMessage));
  }
  return &handler->second;
}

void Server::Impl::Answer(uint64_t connection_id, uint32_t stream_id, Result<std::string> result) {
  const auto found = peers_.find(connection_id);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  const auto call = peer.calls_in_flight.find(stream_id);
  if (call == peer.calls_in_flight.end()) return;
  peer.request_bytes_in_flight -= call->second;
  peer.calls_in_flight.erase(call);
  peer.connection->Send(EncodeResponse(stream_id, std::move(result)));
}

void Server::Impl::Stop() {
  stopped_ = true;
  for (const auto& [id, peer] : peers_) peer->connection->Abandon();
  peers_.clear();
  acceptors_.clear();
}

// --- listening
// -----------------------------------------------------------------------------------------------------

void Server::Impl::Listen(UniqueFd socket, size_t max_connections) {
  if (stopped_) return;
  Result<std::unique_ptr<Acceptor>> acceptor = Acceptor::Create(
      loop_, std::move(socket),
      [this](UniqueFd stream, const sockaddr_storage&, Acceptor::Place place) {
        Serve(std::move(stream), [place = std::move(place)](uint64_t) {});
      },
      max_connections);
  if (acceptor) {
    acceptors_.push_back(std::move(*acceptor));
  } else {
    log::LogError("nobody can connect", {{"error", acceptor.error().message()}});
  }
}

// --- Server
// --------------------------------------------------------------------------------------------------------

Server::Server(EventLoop& loop) : impl_(std::make_shared<Impl>(loop)) {}

Server::~Server() {
  impl_->gate().Shut();
  impl_->loop().RunAndWait([this] { impl_->Stop(); });
}

void Server::HandleRaw(std::string service, std::string method, RawHandler handler) {
  impl_->AddHandler(std::move(service), std::move(method), std::move(handler));
}

void Server::Serve(UniqueFd stream, std::function<void(uint64_t)> on_closed) {
  impl_->gate().Run([impl = impl_, stream = std::move(stream), on_closed = std::move(on_closed)]() mutable {
    impl->Serve(std::move(stream), std::move(on_closed));
  });
}

void Server::Listen(UniqueFd listening_socket, size_t max_connections) {
  impl_->gate().Run([impl = impl_, socket = std::move(listening_socket), max_connections]() mutable {
    impl->Listen(std::move(socket), max_connections);
  });
}

}  // namespace kata::ttrpc
