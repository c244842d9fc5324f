// StdioFd: a caller's stdin, stdout or stderr, used without ever blocking and without changing it for the
// caller.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::sandbox {

// The descriptor was passed by SCM_RIGHTS, so its open file description is the caller's own: O_NONBLOCK on it
// would make the user's shell or the engine fail with EAGAIN. What is done instead depends on the kind of
// file:
//   pipe, terminal    opened anew through /proc/self/fd, which gives a description of our own
//   socket            MSG_DONTWAIT
//   regular file      plain read and write, which do not wait for anybody
// Not thread safe.
class StdioFd {
 public:
  enum class Direction { kRead, kWrite };

  StdioFd() = default;
  // Takes over `fd`; an invalid one gives an object that is not valid().
  StdioFd(UniqueFd fd, Direction direction);

  bool valid() const { return fd_.valid(); }
  // For a wait (FdWatcher) after a call that would have blocked.
  int get() const { return fd_.get(); }
  void Close() { fd_.Reset(); }

  // Up to `max_bytes`; empty at the end of the stream; nullopt when a read would block.
  Result<std::optional<std::string>> Read(size_t max_bytes);
  // How many bytes of `data` (not empty) were taken; nullopt when a write would block. Never raises SIGPIPE
  // in a program that ignores it.
  Result<std::optional<size_t>> Write(std::string_view data);

 private:
  enum class Mode {
    kNonBlocking,  // a description of our own with O_NONBLOCK
    kSocket,
    kAlwaysReady,
    kPolled,  // could not be opened anew: poll(2) first, then no more than surely fits
    kNoReader,
  };
  bool Ready(short events) const;

  UniqueFd fd_;
  Mode mode_ = Mode::kAlwaysReady;
};

}  // namespace kata::sandbox
