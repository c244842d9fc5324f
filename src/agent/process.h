// One process of a container: init or an exec. Its streams, its exit status and who waits for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/reaper.h"
#include "agent/stdio_stream.h"
#include "base/event_loop.h"
#include "base/process.h"
#include "base/result.h"

namespace kata::agent {

// Loop thread only; owned by shared_ptr.
class Process : public std::enable_shared_from_this<Process> {
 public:
  // The exit code as a shell counts it: code, or 128 + signal.
  using WaitCallback = std::move_only_function<void(int exit_code)>;

  // Takes over the child and the agent's ends of its stdio, and has it watched. `description` is for
  // messages: "exec 'e1' of container 'c1'".
  static Result<std::shared_ptr<Process>> Adopt(EventLoop& loop, Reaper& reaper, std::string description,
                                                ChildProcess child, StdioEnds stdio);

  pid_t pid() const { return pid_; }
  bool ended() const { return status_.has_value(); }
  // Someone was told the exit status.
  bool waited_for() const { return waited_for_; }
  // Nobody has anything more to learn from this process: it was waited for and its output is read to its end.
  bool finished() const;

  Result<UniqueFd> DuplicatePidfd() const;
  // Success for a process that has ended: the caller cannot know yet.
  Status Signal(int signal) const;

  // Calls back once, at once if the process has ended already.
  void Wait(WaitCallback callback);
  // Runs once when the process has ended, before the waiters.
  void OnExit(std::function<void()> callback) { on_exit_ = std::move(callback); }

  void ReadStdout(size_t max_bytes, uint64_t connection_id, OutputStream::ReadCallback callback);
  // With a terminal there is no stderr: end of file.
  void ReadStderr(size_t max_bytes, uint64_t connection_id, OutputStream::ReadCallback callback);
  // Empty data closes stdin.
  void WriteStdin(std::string data, InputStream::WriteCallback callback);
  void CloseStdin();
  // kFailedPrecondition without a terminal.
  Status Resize(uint32_t rows, uint32_t columns);

  void DropConnection(uint64_t connection_id);

 private:
  Process(std::string description, pid_t pid) : description_(std::move(description)), pid_(pid) {}
  void Ended(ExitStatus status);

  std::string description_;
  pid_t pid_;
  UniqueFd pidfd_;
  std::shared_ptr<InputStream> stdin_;
  std::shared_ptr<OutputStream> stdout_;
  std::shared_ptr<OutputStream> stderr_;  // none with a terminal
  UniqueFd terminal_;                     // for the window size
  std::optional<ExitStatus> status_;
  bool waited_for_ = false;
  std::vector<WaitCallback> waiters_;
  std::function<void()> on_exit_;
};

}  // namespace kata::agent
