// Process: one process of a container as the sandbox server sees it: its stand-in on the host, its stdio, its
// state and its end.
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "sandbox/agent_client.h"
#include "sandbox/attach.h"
#include "sandbox/fd_watcher.h"
#include "sandbox/guest.h"
#include "sandbox/process_io.h"
#include "sandbox/shim_channel.h"
#include "sandbox/stdio_traits.h"

namespace kata::sandbox {

struct ProcessExit {
  int code = 0;
  std::chrono::system_clock::time_point time;
  std::string error;        // why, when that was not the process's own doing
  bool oom_killed = false;  // of init: a process of the container was killed for lack of memory before
};

// Everything on the loop thread.
class Process {
 public:
  enum class State { kCreating, kCreated, kRunning, kStopped };

  struct Handlers {
    // kata-shim was killed: the process shall not go on without it.
    std::function<void()> on_shim_gone;
    // Once: state() is kStopped now. Runs before waiters and kata-shim are told, and may call HoldExit.
    std::function<void(const ProcessExit& exit)> on_exit;
  };

  // Between the end of the process and the moment when output that nobody takes is given up.
  static constexpr std::chrono::seconds kDrainTime{10};

  // `loop` and `watcher` are borrowed. `exec_id` is empty for a container's init.
  Process(EventLoop& loop, FdWatcher& watcher, std::shared_ptr<Guest> guest, std::string container_id,
          std::string exec_id, AttachRequest attachment, Handlers handlers);

  ~Process();

  // Begins to listen to kata-shim.
  Status Start();
  // The process exists in the guest: its output is carried and its end waited for.
  void OnCreated();
  // It runs its program.
  void OnRunning();

  State state() const { return state_; }
  bool terminal() const { return terminal_; }
  StdioTraits stdio_traits() const { return stdio_traits_; }
  pid_t shim_pid() const { return shim_pid_; }
  // Its end is known, though perhaps some of its output is still on its way.
  bool HasEnded() const { return state_ == State::kStopped || pending_exit_; }
  // Of a stopped process.
  const ProcessExit& exit() const { return *exit_; }

  void Signal(int signal, AgentClient::StatusCallback callback);
  // Remembered while the process does not exist yet.
  void Resize(uint32_t rows, uint32_t columns, AgentClient::StatusCallback callback);
  void CloseInput();
  // `callback` runs when the process has stopped, at once if it has.
  void Wait(std::function<void(const ProcessExit& exit)> callback);

  // Waiters and kata-shim are told of the end when ReleaseExit is called. The destructor calls it, too.
  void HoldExit() { exit_held_ = true; }
  void ReleaseExit();

  // It is over, whatever the guest says. `error`, if not empty, is written to its stderr.
  void End(int code, const std::string& error);

 private:
  void OnOutputDone();
  void WaitForEnd();
  void OnEnd(Result<AgentClient::Exit> ended);
  void Finish(ProcessExit exit);
  void TellExit();
  void SendWindowSize(AgentClient::StatusCallback callback);

  EventLoop& loop_;
  FdWatcher& watcher_;
  std::shared_ptr<Guest> guest_;
  std::string container_id_;
  std::string exec_id_;
  std::string guest_exec_id_;  // the agent's name for it: init goes by the container's id
  Handlers handlers_;

  State state_ = State::kCreating;
  bool terminal_;
  pid_t shim_pid_;
  StdioTraits stdio_traits_;
  ShimChannel channel_;
  Stdio stdio_;  // until the process exists
  std::unique_ptr<ProcessIo> io_;
  bool output_done_ = false;
  bool waiting_ = false;
  struct WindowSize {
    uint32_t rows;
    uint32_t columns;
  };
  std::optional<WindowSize> window_size_;
  std::optional<ProcessExit> pending_exit_;  // ended in the guest, output not written yet
  std::optional<ProcessExit> exit_;
  bool exit_held_ = false;
  asio::steady_timer drain_timer_;
  std::vector<std::function<void(const ProcessExit&)>> waiters_;
  // Callbacks of calls to the guest come back to a process that may be gone.
  std::shared_ptr<Process*> self_;
};

}  // namespace kata::sandbox
