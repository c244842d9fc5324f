// Acceptor: takes the connections that come to a listening socket, only so many at once.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata {

// Made on any thread, everything else on the loop thread. Nothing is accepted once the object is gone.
class Acceptor {
 public:
  // What a connection counts by, until the last copy has gone; may outlive the acceptor.
  using Place = std::shared_ptr<void>;
  // `stream` is close-on-exec and non-blocking.
  using Handler = std::function<void(UniqueFd stream, const sockaddr_storage& peer, Place place)>;

  // `loop` is borrowed and outlives the acceptor and all places. The listening socket, whose open file
  // description nobody else must use, becomes non-blocking. Connections beyond `max_open` wait in its backlog
  // (listen(2)) until a place is free; when descriptors or memory have run out, all wait a moment.
  static Result<std::unique_ptr<Acceptor>> Create(EventLoop& loop, UniqueFd listening_socket, Handler handler,
                                                  size_t max_open = std::numeric_limits<size_t>::max());
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  class Impl;
  explicit Acceptor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata
