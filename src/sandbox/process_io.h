// ProcessIo: carries a process's stdio between the guest and the descriptors that the caller handed over.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "protocol/constants.h"
#include "sandbox/fd_watcher.h"

namespace kata::sandbox {

// One process's streams in the guest. Callbacks run on the loop thread, each exactly once.
class GuestStreams {
 public:
  virtual ~GuestStreams() = default;
  using DataCallback = std::move_only_function<void(Result<std::string>)>;
  using SizeCallback = std::move_only_function<void(Result<size_t>)>;
  using StatusCallback = std::move_only_function<void(Status)>;
  // Empty data: the end of the stream.
  virtual void ReadStdout(uint32_t max_bytes, DataCallback callback) = 0;
  virtual void ReadStderr(uint32_t max_bytes, DataCallback callback) = 0;
  // Answers with how many bytes the process's pipe has taken.
  virtual void WriteStdin(std::string data, SizeCallback callback) = 0;
  virtual void CloseStdin(StatusCallback callback) = 0;
};

// The caller's descriptors. Without stdout or stderr what the process writes is thrown away; without stdin it
// reads the end of the stream at once. With a terminal the process has no stderr of its own, and the
// descriptors are the slave of a pseudo-terminal, which is put into raw mode: the terminal that edits lines
// is the guest's.
struct Stdio {
  bool terminal = false;
  UniqueFd stdin_fd;
  UniqueFd stdout_fd;
  UniqueFd stderr_fd;
};

// Everything on the loop thread. At most one chunk of each stream is held: a reader that is slow slows the
// process down as a pipe would. A caller who has closed its end loses the rest of the output, the process
// goes on.
class ProcessIo {
 public:
  static constexpr uint32_t kChunkBytes = protocol::kStreamChunkBytes;

  struct Callbacks {
    // Once: all output is written, or nobody is left to write it to.
    std::function<void()> on_output_done;
    // Once: the caller has not taken any output for kStallTime although there is some.
    std::function<void()> on_output_stalled;
  };
  static constexpr std::chrono::seconds kStallTime{10};

  // `loop` and `watcher` are borrowed.
  ProcessIo(EventLoop& loop, FdWatcher& watcher, std::shared_ptr<GuestStreams> guest, Stdio stdio,
            Callbacks callbacks, std::chrono::milliseconds stall_time = kStallTime);
  ~ProcessIo();  // closes the descriptors; no callback runs any more

  void StartOutput();
  void StartInput();
  // No more input: the process gets what was read so far, then the end of its stdin.
  void CloseInput();
  // One line on the process's stderr (with a terminal: stdout), as far as it can be written without blocking.
  void WriteError(const std::string& line);

  class OutputPump;
  class InputPump;

 private:
  void OnPumpDone();

  Callbacks callbacks_;
  std::shared_ptr<OutputPump> stdout_;
  std::shared_ptr<OutputPump> stderr_;  // null with a terminal
  std::shared_ptr<InputPump> stdin_;
};

}  // namespace kata::sandbox
