// UniqueFd: sole owner of a file descriptor.
#pragma once

#include <unistd.h>

#include <utility>

#include "base/result.h"

namespace kata {

// Move-only; closes on destruction. -1 is "none". Not thread safe, like an int.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }

  // Gives up ownership; the caller closes.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // Closes what is held and takes `fd`. close() is never retried: after EINTR Linux has already freed the
  // descriptor (close(2)), and a retry could close one that another thread has just been given.
  void Reset(int fd = -1) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);
  }

  // A second descriptor for the same open file description, close-on-exec, numbered 3 or above.
  Result<UniqueFd> Duplicate() const;

 private:
  int fd_ = -1;
};

// UniqueFd::Duplicate for a descriptor that is somebody else's.
Result<UniqueFd> DuplicateFd(int fd);

// A close of a UniqueFd's number behind its back must not compile.
void close(const UniqueFd&) = delete;

struct PipeEnds {
  UniqueFd read;
  UniqueFd write;
};
// A pipe, both ends close-on-exec; `flags` as for pipe2(2), e.g. O_NONBLOCK.
Result<PipeEnds> MakePipe(int flags = 0);

struct SocketPairEnds {
  UniqueFd first;
  UniqueFd second;
};
// A connected AF_UNIX pair, both ends close-on-exec; `type` is SOCK_STREAM or SOCK_SEQPACKET.
Result<SocketPairEnds> MakeSocketPair(int type);

Status SetNonBlocking(int fd, bool on);
// Clears or sets FD_CLOEXEC. Only for a descriptor that the next exec shall inherit.
Status SetCloseOnExec(int fd, bool on);

}  // namespace kata
