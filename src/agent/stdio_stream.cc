#include "agent/stdio_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file.h"

namespace kata::agent {
namespace {

using asio::posix::stream_descriptor;

}  // namespace

OutputStream::OutputStream(EventLoop& loop, UniqueFd fd)
    : descriptor_(loop.context(), fd.Release()), drain_timer_(loop.context()), hangup_timer_(loop.context()) {
  // No terminal has one.
  const int pipe_bytes = fcntl(descriptor_.native_handle(), F_GETPIPE_SZ);
  if (pipe_bytes > 0) max_bytes_after_drain_ = std::max(kMaxBytesAfterDrain, static_cast<size_t>(pipe_bytes));
}

void OutputStream::Read(size_t max_bytes, uint64_t connection_id, ReadCallback callback) {
  if (max_bytes == 0) {
    callback(Error(Code::kInvalidArgument, "a read of no bytes"));
    return;
  }
  if (reads_.size() >= kMaxPendingReads) {
    callback(MakeError(Code::kResourceExhausted, "more than {} reads wait for one stream", kMaxPendingReads));
    return;
  }
  reads_.push_back({std::min(max_bytes, kMaxReadBytes), connection_id, std::move(callback)});
  Serve();
}

void OutputStream::Serve() {
  // A callback may drop the last other reference to this.
  const std::shared_ptr<OutputStream> self = shared_from_this();
  while (!reads_.empty()) {
    std::optional<Result<std::string>> result = ReadOnce(reads_.front().max_bytes);
    if (!result) {
      AwaitReadable();
      return;
    }
    PendingRead read = std::move(reads_.front());
    reads_.pop_front();
    if (*result && (*result)->empty()) finished_ = true;
    read.callback(std::move(*result));
  }
}

std::optional<Result<std::string>> OutputStream::ReadOnce(size_t max_bytes) {
  if (!ended_ && bytes_after_drain_ < max_bytes_after_drain_) {
    std::string data;
    const ssize_t count = ReadAvailable(descriptor_.native_handle(), max_bytes, data);
    if (count > 0) {
      if (drained_) bytes_after_drain_ += static_cast<size_t>(count);
      data.shrink_to_fit();
      return data;
    }
    // EIO is how the master of a pseudo-terminal says that nobody has the slave open at this time.
    hung_up_ = count < 0 && errno == EIO;
    if (count < 0 && errno == EAGAIN && !drained_) return std::nullopt;
    if (hung_up_ && !process_ended_) return std::nullopt;
    if (count < 0 && errno != EAGAIN && errno != EIO) return SysError("read the process's output");
  }
  if (!ended_) {
    ended_ = true;
    asio::error_code ignored;
    descriptor_.close(ignored);
    drain_timer_.cancel();
  }
  return std::string();
}

void OutputStream::AwaitReadable() {
  if (waiting_) return;
  waiting_ = true;
  const auto serve = [weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<OutputStream> self = weak.lock();
    if (!self) return;
    self->waiting_ = false;
    if (!error) self->Serve();
  };
  if (!hung_up_) {
    descriptor_.async_wait(stream_descriptor::wait_read, serve);
    return;
  }
  hangup_timer_.expires_after(kHangupInterval);
  hangup_timer_.async_wait(serve);
}

void OutputStream::ProcessEnded() {
  process_ended_ = true;
  if (ended_) return;
  drain_timer_.expires_after(kDrainTime);
  drain_timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<OutputStream> self = weak.lock();
    if (error || !self) return;
    self->drained_ = true;
    self->Serve();
  });
  if (hung_up_) Serve();
}

void OutputStream::DropConnection(uint64_t connection_id) {
  std::erase_if(reads_, [&](const PendingRead& read) { return read.connection_id == connection_id; });
}

InputStream::InputStream(EventLoop& loop, UniqueFd fd, bool terminal)
    : descriptor_(loop.context()), terminal_(terminal) {
  if (fd) descriptor_.assign(fd.Release());
}

void InputStream::Write(std::string data, WriteCallback callback) {
  if (callback_) {
    callback(Error(Code::kResourceExhausted, "another write to the process's stdin waits"));
    return;
  }
  if (close_requested_ || !descriptor_.is_open()) {
    callback(Error(Code::kFailedPrecondition, "the process's stdin is closed"));
    return;
  }
  data_ = std::move(data);
  written_ = 0;
  callback_ = std::move(callback);
  Continue();
}

void InputStream::Continue() {
  while (written_ < data_.size()) {
    const ssize_t count =
        write(descriptor_.native_handle(), data_.data() + written_, data_.size() - written_);
    if (count >= 0) {
      written_ += static_cast<size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      Finish(SysError("write to the process's stdin"));
      return;
    }
    descriptor_.async_wait(stream_descriptor::wait_write,
                           [weak = weak_from_this()](const asio::error_code& error) {
                             const std::shared_ptr<InputStream> self = weak.lock();
                             if (self && !error && self->callback_) self->Continue();
                           });
    return;
  }
  Finish(written_);
}

void InputStream::Finish(Result<size_t> result) {
  data_ = std::string();
  WriteCallback callback = std::exchange(callback_, {});
  if (close_requested_) {
    asio::error_code ignored;
    descriptor_.close(ignored);
  }
  callback(std::move(result));
}

void InputStream::Close() {
  if (terminal_) return;
  close_requested_ = true;
  if (callback_) return;
  asio::error_code ignored;
  descriptor_.close(ignored);
}

void InputStream::Abandon() {
  close_requested_ = true;
  if (callback_) {
    Finish(Error(Code::kFailedPrecondition, "the process has ended"));
    return;
  }
  asio::error_code ignored;
  descriptor_.close(ignored);
}

jail::StdioFds StdioEnds::ForJail() const {
  return {.stdin_fd = child_stdin.get(), .stdout_fd = child_stdout.get(), .stderr_fd = child_stderr.get()};
}

void StdioEnds::CloseChildEnds() {
  child_stdin.Reset();
  child_stdout.Reset();
  child_stderr.Reset();
}

Result<StdioEnds> MakePipes(uint32_t pipe_size_bytes, bool null_stdin) {
  StdioEnds ends;
  const auto make = [pipe_size_bytes](UniqueFd& ours, UniqueFd& childs, bool we_read) -> Status {
    PipeEnds pipe = TRY(MakePipe());
    if (pipe_size_bytes > 0 && fcntl(pipe.read.get(), F_SETPIPE_SZ, pipe_size_bytes) < 0) {
      return SysError("set the size of a pipe to {}", pipe_size_bytes);
    }
    ours = std::move(we_read ? pipe.read : pipe.write);
    childs = std::move(we_read ? pipe.write : pipe.read);
    return SetNonBlocking(ours.get(), true);
  };
  if (!null_stdin) TRY_CTX(make(ends.stdin_writer, ends.child_stdin, false), "make stdin");
  TRY_CTX(make(ends.stdout_reader, ends.child_stdout, true), "make stdout");
  TRY_CTX(make(ends.stderr_reader, ends.child_stderr, true), "make stderr");
  return ends;
}

Result<StdioEnds> TerminalEnds(UniqueFd master) {
  TRY_CTX(SetNonBlocking(master.get(), true), "set up terminal");
  StdioEnds ends;
  ends.terminal = std::move(master);
  return ends;
}

}  // namespace kata::agent
