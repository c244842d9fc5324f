// Connection: frames in both directions over one stream descriptor; what server and client share.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "ttrpc/frame.h"

namespace kata::ttrpc {

// Works on what poll(2) works on and both ends write: sockets of any family, character devices such as
// /dev/virtio-ports/*. Touched by the loop thread only. Kept alive by its pending operations until it is
// closed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Callbacks {
    std::function<void(Frame)> on_frame;
    // Once, after the descriptor was closed, in a turn of the loop of its own.
    std::function<void(const Error&)> on_closed;
  };
  // A peer that sends but does not read must not make memory grow.
  struct Limits {
    size_t stop_reading_above;  // bytes queued for the peer at which no more frames are taken from it
    size_t close_above;         // bytes queued at which the connection is given up
  };

  Connection(EventLoop& loop, UniqueFd stream, Limits limits, Callbacks callbacks);
  void Start();

  // Queues an encoded frame. Ignored when closed.
  void Send(std::string frame);
  size_t queued_bytes() const { return queued_bytes_; }

  // Closes the descriptor; on_closed gets `reason`. Ignored when closed.
  void Close(Error reason);
  // Closes the descriptor; no callback runs any more.
  void Abandon();
  bool closed() const { return !descriptor_.has_value(); }

 private:
  void WaitReadable();
  void OnReadable();
  // Hands out the frames in unread_, until reading has to stop.
  void Dispatch();
  bool ReadingStopped() const { return queued_bytes_ > limits_.stop_reading_above; }

  void WaitWritable();
  void Flush();
  ssize_t WriteSome(std::string_view data);

  EventLoop& loop_;
  UniqueFd unopened_;  // until Start()
  const Limits limits_;
  Callbacks callbacks_;
  std::optional<asio::posix::stream_descriptor> descriptor_;
  bool is_socket_ = false;

  FrameDecoder decoder_;
  std::string unread_;  // received, not yet decoded
  bool dispatching_ = false;
  bool waiting_readable_ = false;

  std::deque<std::string> queue_;
  size_t first_sent_ = 0;  // bytes of queue_.front() that are written
  size_t queued_bytes_ = 0;
  bool waiting_writable_ = false;
};

}  // namespace kata::ttrpc
