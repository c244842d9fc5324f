// Accepts connections on a listening socket; on a vsock one, those of the host only.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <functional>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace kata::agent {

// Loop thread only. Ends with the object.
class Acceptor {
 public:
  // Gets each connection: close-on-exec, non-blocking.
  using StreamHandler = std::function<void(UniqueFd stream)>;
  // `loop` is borrowed.
  Acceptor(EventLoop& loop, UniqueFd listening_socket, StreamHandler handler);

 private:
  void Await();
  void AcceptAll();

  asio::posix::stream_descriptor socket_;
  asio::steady_timer pause_;
  StreamHandler handler_;
};

}  // namespace kata::agent
