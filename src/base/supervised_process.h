// SupervisedProcess: a child that is watched until its end. What it writes is read, the last of its standard
// error is kept for error texts, and its exit is reported once.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/line_tail.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata {

// Thread safe.
class SupervisedProcess {
 public:
  struct Stream {
    UniqueFd fd;  // our end, set to non-blocking
    // On the loop thread, for whatever arrives.
    std::function<void(std::string_view bytes)> consume;
  };
  struct Options {
    std::string name;             // for error texts: "vmm"
    std::vector<Stream> streams;  // read in addition to standard error
    // On the loop thread, for each line of standard error: printable, of bounded length.
    LineCallback on_error_line;
    // On the loop thread, once, when the process has ended, whoever caused it, and all that it wrote has been
    // consumed.
    std::function<void()> on_exit;
  };

  // `loop` is borrowed and must outlive the object.
  SupervisedProcess(EventLoop& loop, Options options);
  // Kills it if it still runs, and reaps it. A callback may be under way on the loop thread still, so that
  // callbacks refer to their owner weakly.
  ~SupervisedProcess();

  // Once. Starts `command` with its standard error on a pipe of this object. The parent-death signal of
  // `command` follows the calling thread (prctl(2)). Callbacks begin after this call has begun, so that they
  // may use the object.
  Status Start(Command command);

  pid_t pid() const;  // -1 before a successful Start
  bool running() const { return pid() > 0 && !exit_status(); }
  // Empty while it runs.
  std::optional<ExitStatus> exit_status() const;
  // The last lines of standard error that are no warnings, as one printable line; perhaps empty.
  std::string ErrorSummary() const;

  // True when it has ended before the deadline; it is reaped then. Blocking.
  bool WaitExit(Deadline deadline);
  // True when it has ended and on_exit has been called. Blocking; not from the loop thread.
  bool WaitDrained(Deadline deadline);
  // Success also when it has ended already or never begun.
  Status Signal(int signal);
  // SIGKILL, and waits until it is gone; a bound of its own, because to leave a process behind would be worse
  // than to be late. Idempotent. Blocking.
  Status Kill();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata
