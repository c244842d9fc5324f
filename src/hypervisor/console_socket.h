// A socket on which somebody sees the guest's console and types into it.
#pragma once

#include <array>
#include <asio/posix/stream_descriptor.hpp>
#include <memory>
#include <string_view>

#include "base/acceptor.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::hypervisor {

// One connection at a time: a later one takes the place of the first. Loop thread only, but for Create.
class ConsoleSocket : public std::enable_shared_from_this<ConsoleSocket> {
 public:
  // Accepts from now on, until Close. `loop` is borrowed. `console`: the VMM's console, non-blocking, to
  // write to; who reads it calls Show.
  static Result<std::shared_ptr<ConsoleSocket>> Create(EventLoop& loop, UniqueFd listener, UniqueFd console);

  // What the guest has written. A connection that does not read misses what comes meanwhile.
  void Show(std::string_view bytes);
  void Close();

 private:
  struct Connection {
    asio::posix::stream_descriptor stream;
    std::array<char, 4096> input;
  };

  explicit ConsoleSocket(EventLoop& loop);
  void TakeConnection(UniqueFd stream);
  void ReadConnection();
  void DropConnection();

  EventLoop& loop_;
  asio::posix::stream_descriptor console_;
  std::shared_ptr<Connection> connection_;  // null: none
  std::unique_ptr<Acceptor> acceptor_;      // null: closed
};

}  // namespace kata::hypervisor
