// Signals to this program, taken one by one where the program is ready for them.
#pragma once

#include <signal.h>

#include <optional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::cli {

// Blocks signals from construction to destruction and reads them from a descriptor. To be made before the
// program starts a thread: a signal is blocked only if every thread blocks it.
class SignalQueue {
 public:
  // SIGINT, SIGTERM, SIGHUP, SIGQUIT: those by which somebody ends a command.
  static Result<SignalQueue> ForEnding();
  // All that a process in the foreground passes on to the container.
  static Result<SignalQueue> ForForwarding();

  SignalQueue(SignalQueue&& other) noexcept = default;
  SignalQueue& operator=(SignalQueue&&) = delete;
  ~SignalQueue();

  // Readable when Next() has a signal.
  int fd() const { return fd_.get(); }
  // The next signal; never waits.
  std::optional<int> Next();
  // kCancelled, "interrupted by SIGINT", when a signal of ForEnding() has come. Others are dropped.
  Status CheckInterrupt();

 private:
  static Result<SignalQueue> Block(const sigset_t& signals);
  SignalQueue(UniqueFd fd, const sigset_t& old_mask) : fd_(std::move(fd)), old_mask_(old_mask) {}
  UniqueFd fd_;  // not valid: moved from
  sigset_t old_mask_;
};

}  // namespace kata::cli
