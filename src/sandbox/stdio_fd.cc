// StdioFd: kinds of descriptors and how each is read and written without blocking.
#include "sandbox/stdio_fd.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"
#include "linux/mounts.h"

namespace kata::sandbox {
namespace {

bool IsWouldBlock(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

StdioFd::StdioFd(UniqueFd fd, Direction direction) : fd_(std::move(fd)) {
  if (!fd_) return;
  struct stat info{};
  if (fstat(fd_.get(), &info) < 0) {
    fd_.Reset();
    return;
  }
  if (S_ISSOCK(info.st_mode)) {
    mode_ = Mode::kSocket;
  } else if (S_ISFIFO(info.st_mode) || (S_ISCHR(info.st_mode) && isatty(fd_.get()) == 1)) {
    const int access = direction == Direction::kRead ? O_RDONLY : O_WRONLY;
    Result<UniqueFd> own = Open(linux::FdPath(fd_.get()), access | O_NONBLOCK | O_NOCTTY);
    if (own) {
      fd_ = std::move(*own);
      mode_ = Mode::kNonBlocking;
    } else {
      // fifo(7): opening for writing fails with ENXIO when nobody has the other end open.
      mode_ = own.error().sys_errno() == ENXIO ? Mode::kNoReader : Mode::kPolled;
    }
  } else if (S_ISCHR(info.st_mode)) {
    mode_ = Mode::kPolled;
  }
}

bool StdioFd::Ready(short events) const {
  pollfd poll_fd{fd_.get(), events, 0};
  return poll(&poll_fd, 1, 0) != 0;
}

Result<std::optional<std::string>> StdioFd::Read(size_t max_bytes) {
  if (mode_ == Mode::kPolled && !Ready(POLLIN)) return std::optional<std::string>();
  std::string data(max_bytes, '\0');
  ssize_t count = -1;
  do {
    count = mode_ == Mode::kSocket ? recv(fd_.get(), data.data(), data.size(), MSG_DONTWAIT)
                                   : read(fd_.get(), data.data(), data.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (IsWouldBlock(errno)) return std::optional<std::string>();
    return SysError("read stdin");
  }
  data.resize(static_cast<size_t>(count));
  return std::optional<std::string>(std::move(data));
}

Result<std::optional<size_t>> StdioFd::Write(std::string_view data) {
  if (mode_ == Mode::kNoReader) return ErrnoError(EPIPE, "write output");
  if (mode_ == Mode::kPolled) {
    if (!Ready(POLLOUT)) return std::optional<size_t>();
    // A pipe that polls as writable has room for PIPE_BUF bytes at least (pipe(7)).
    data = data.substr(0, PIPE_BUF);
  }
  ssize_t count = -1;
  do {
    count = mode_ == Mode::kSocket ? send(fd_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : write(fd_.get(), data.data(), data.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (IsWouldBlock(errno)) return std::optional<size_t>();
    return SysError("write output");
  }
  return std::optional<size_t>(static_cast<size_t>(count));
}

}  // namespace kata::sandbox
