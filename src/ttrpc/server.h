// ttrpc server: serves methods on any number of stream connections, many calls in flight on each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::ttrpc {

// Answers one call, once, from any thread. Dropped without an answer it sends kInternal. After the connection
// is gone an answer is discarded.
class RawResponder {
 public:
  class Impl;
  explicit RawResponder(std::shared_ptr<Impl> impl);
  RawResponder(RawResponder&&) noexcept;
  RawResponder& operator=(RawResponder&&) noexcept;
  ~RawResponder();
  void Respond(Result<std::string> payload);

 private:
  std::shared_ptr<Impl> impl_;
};

template <typename Response>
class Responder {
 public:
  explicit Responder(RawResponder raw) : raw_(std::move(raw)) {}
  void Respond(const Result<Response>& result) {
    if (result) {
      raw_.Respond(result->SerializeAsString());
    } else {
      raw_.Respond(Error(result.error()));
    }
  }

 private:
  RawResponder raw_;
};

struct CallContext {
  std::optional<Deadline> deadline;  // from timeout_nano; nullopt: the caller waits for ever
  uint64_t connection_id = 0;
};

class Server {
 public:
  // `loop` is borrowed and must outlive the server.
  explicit Server(EventLoop& loop);
  // Closes all connections. No handler and no on_closed runs any more when this returns; on another thread
  // than the loop's it waits for the one that is running.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  using RawHandler = std::move_only_function<void(CallContext, std::string payload, RawResponder)>;
  // Handlers run on the loop thread and must not block; a stray exception becomes kInternal. Register all
  // before the first Serve(). An unknown service or method is answered kUnimplemented, a payload that does
  // not parse kInvalidArgument.
  void HandleRaw(std::string service, std::string method, RawHandler handler);

  // `handler`: void(const CallContext&, Request, Responder<Response>).
  template <typename Request, typename Response, typename Handler>
  void Handle(std::string service, std::string method, Handler handler) {
    HandleRaw(std::move(service), std::move(method),
              [handler = std::move(handler)](const CallContext& context, const std::string& payload,
                                             RawResponder raw) mutable {
                Request request;
                if (!request.ParseFromString(payload)) {
                  raw.Respond(Error(Code::kInvalidArgument, "the request does not parse"));
                  return;
                }
                handler(context, std::move(request), Responder<Response>(std::move(raw)));
              });
  }

  // Serves one connected stream (unix, vsock, virtio-serial). Thread safe. `on_closed` runs once, on the loop
  // thread, when the peer is gone or broke the protocol; the descriptor is closed by then, so that a device
  // that can be open only once can be opened again. A virtio-serial port with no host behind it is closed at
  // once.
  void Serve(UniqueFd stream, std::function<void(uint64_t connection_id)> on_closed = {});
  // Accepts connections on a listening socket for as long as the server lives. At most `max_connections` at
  // once; further ones wait in the socket's backlog until one of those has ended.
  void Listen(UniqueFd listening_socket, size_t max_connections = 128);

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata::ttrpc
