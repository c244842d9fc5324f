#include "ttrpc/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/post.hpp>
#include <cerrno>
#include <utility>

#include "base/file.h"

namespace kata::ttrpc {
namespace {

constexpr size_t kReadSize = 64u << 10;

}  // namespace

Connection::Connection(EventLoop& loop, UniqueFd stream, Limits limits, Callbacks callbacks)
    : loop_(loop), unopened_(std::move(stream)), limits_(limits), callbacks_(std::move(callbacks)) {}

void Connection::Start() {
  const Status non_blocking = SetNonBlocking(unopened_.get(), true);
  int type;
  socklen_t length = sizeof type;
  is_socket_ = getsockopt(unopened_.get(), SOL_SOCKET, SO_TYPE, &type, &length) == 0;

  descriptor_.emplace(loop_.context());
  if (!non_blocking) {
    Close(non_blocking.error());
    return;
  }
  asio::error_code error;
  descriptor_->assign(unopened_.get(), error);
  if (error) {
    Close(ErrnoError(error.value(), "watch the stream"));
    return;
  }
  (void)unopened_.Release();
  WaitReadable();
}

void Connection::Send(std::string frame) {
  if (closed()) return;
  queued_bytes_ += frame.size();
  queue_.push_back(std::move(frame));
  if (queued_bytes_ > limits_.close_above) {
    Close(MakeError(Code::kResourceExhausted, "the peer does not read: {} bytes wait for it", queued_bytes_));
    return;
  }
  if (!waiting_writable_) Flush();
}

void Connection::Close(Error reason) {
  if (closed()) return;
  Abandon();
  asio::post(loop_.context(), [self = shared_from_this(), reason = std::move(reason)] {
    if (self->callbacks_.on_closed) self->callbacks_.on_closed(reason);
  });
}

void Connection::Abandon() {
  unopened_.Reset();
  if (descriptor_ && descriptor_->is_open()) {
    // release() takes the descriptor out of the epoll set, which close() alone does not do while a duplicate
    // of it is open somewhere. Pending operations end with operation_aborted.
    const UniqueFd fd(descriptor_->release());
  }
  descriptor_.reset();
  queue_.clear();
  queued_bytes_ = 0;
}

void Connection::WaitReadable() {
  if (std::exchange(waiting_readable_, true)) return;
  descriptor_->async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const asio::error_code& error) {
                            self->waiting_readable_ = false;
                            if (self->closed()) return;
                            if (error) {
                              self->Close(ErrnoError(error.value(), "wait for the stream"));
                            } else {
                              self->OnReadable();
                            }
                          });
}

void Connection::OnReadable() {
  const ssize_t count = ReadAvailable(descriptor_->native_handle(), kReadSize, unread_);
  if (count > 0) {
    Dispatch();
  } else if (count == 0) {
    Close(Error(Code::kUnavailable, decoder_.AtBoundary() ? "the peer closed the stream"
                                                          : "the peer closed the stream within a frame"));
  } else if (errno == EAGAIN) {
    WaitReadable();
  } else {
    Close(SysError("read from the stream"));
  }
}

void Connection::Dispatch() {
  if (std::exchange(dispatching_, true)) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  std::string_view input = unread_;
  while (!closed() && !ReadingStopped()) {
    std::optional<Frame> frame = decoder_.Next(input);
    if (!frame) break;
    callbacks_.on_frame(std::move(*frame));
  }
  unread_.erase(0, unread_.size() - input.size());
  dispatching_ = false;
  if (!closed() && !ReadingStopped()) WaitReadable();
}

void Connection::WaitWritable() {
  waiting_writable_ = true;
  descriptor_->async_wait(asio::posix::stream_descriptor::wait_write,
                          [self = shared_from_this()](const asio::error_code& error) {
                            self->waiting_writable_ = false;
                            if (self->closed()) return;
                            if (error) {
                              self->Close(ErrnoError(error.value(), "wait for the stream"));
                              return;
                            }
                            const size_t before = self->queued_bytes_;
                            self->Flush();
                            if (self->closed() || self->queued_bytes_ != before) return;
                            // A virtio-serial port without a host is for ever in hangup, and not writable
                            // either. While nothing is read from the peer, no end of stream shows it.
                            pollfd entry{self->descriptor_->native_handle(), POLLOUT, 0};
                            if (poll(&entry, 1, 0) > 0 && (entry.revents & POLLOUT) == 0) {
                              self->Close(Error(Code::kUnavailable, "the peer closed the stream"));
                            }
                          });
}

void Connection::Flush() {
  while (!queue_.empty()) {
    const ssize_t written = WriteSome(std::string_view(queue_.front()).substr(first_sent_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      WaitWritable();
      break;
    }
    if (written < 0) {
      Close(SysError("write to the stream"));
      return;
    }
    first_sent_ += static_cast<size_t>(written);
    queued_bytes_ -= static_cast<size_t>(written);
    if (first_sent_ == queue_.front().size()) {
      queue_.pop_front();
      first_sent_ = 0;
    }
  }
  // Goes on with what was held back.
  if (!ReadingStopped() && !waiting_readable_) Dispatch();
}

ssize_t Connection::WriteSome(std::string_view data) {
  const int fd = descriptor_->native_handle();
  // A peer that is gone must give EPIPE, not a signal.
  return is_socket_ ? send(fd, data.data(), data.size(), MSG_NOSIGNAL) : write(fd, data.data(), data.size());
}

}  // namespace kata::ttrpc
