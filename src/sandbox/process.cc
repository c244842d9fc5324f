// Process: from its kata-shim's attachment to its exit code.
#include "sandbox/process.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <csignal>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "linux/terminal.h"

namespace kata::sandbox {
namespace {

// For a process whose machine is gone; kata-shim's own code for a server that is gone is the same.
constexpr int kLostExitCode = 255;

void IgnoreStatus(const Status& status) {
  if (!status) log::Debug("a call to the agent failed", {{"error", status.error().message()}});
}

bool IsNullDevice(const UniqueFd& fd) {
  constexpr unsigned kMemoryMajor = 1;
  constexpr unsigned kNullMinor = 3;
  struct stat info{};
  return fd && fstat(fd.get(), &info) == 0 && S_ISCHR(info.st_mode) &&
         info.st_rdev == makedev(kMemoryMajor, kNullMinor);
}

StdioTraits TraitsOf(const AttachRequest& attachment) {
  StdioTraits traits{.null_stdin = IsNullDevice(attachment.stdin_fd)};
  if (attachment.terminal && attachment.stdout_fd) {
    const Result<bool> maps = linux::MapsNewlines(attachment.stdout_fd.get());
    traits.plain_newlines = maps && !*maps;
  }
  return traits;
}

}  // namespace

Process::Process(EventLoop& loop, FdWatcher& watcher, std::shared_ptr<Guest> guest, std::string container_id,
                 std::string exec_id, AttachRequest attachment, Handlers handlers)
    : loop_(loop),
      watcher_(watcher),
      guest_(std::move(guest)),
      container_id_(std::move(container_id)),
      exec_id_(std::move(exec_id)),
      guest_exec_id_(exec_id_.empty() ? container_id_ : exec_id_),
      handlers_(std::move(handlers)),
      terminal_(attachment.terminal),
      shim_pid_(attachment.shim_pid),
      stdio_traits_(TraitsOf(attachment)),
      channel_(
          watcher, std::move(attachment.channel),
          {.on_signal = [this](int signal) { Signal(signal, IgnoreStatus); },
           .on_window_size = [this](uint32_t rows, uint32_t columns) { Resize(rows, columns, IgnoreStatus); },
           .on_gone = [this] { handlers_.on_shim_gone(); }}),
      stdio_{.terminal = attachment.terminal,
             .stdin_fd = std::move(attachment.stdin_fd),
             .stdout_fd = std::move(attachment.stdout_fd),
             .stderr_fd = std::move(attachment.stderr_fd)},
      drain_timer_(loop.context()),
      self_(std::make_shared<Process*>(this)) {}

Process::~Process() {
  if (exit_held_) channel_.SendExit(exit_->code);
}

Status Process::Start() {
  return channel_.Start();
}

void Process::OnCreated() {
  const std::shared_ptr<AgentClient> agent = guest_->agent();
  if (!agent || state_ != State::kCreating) return;
  state_ = State::kCreated;
  io_ = std::make_unique<ProcessIo>(loop_, watcher_, agent->Streams(container_id_, guest_exec_id_),
                                    std::move(stdio_),
                                    ProcessIo::Callbacks{.on_output_done = [this] { OnOutputDone(); },
                                                         .on_output_stalled = [this] { WaitForEnd(); }});
  io_->StartOutput();
  SendWindowSize(IgnoreStatus);
}

void Process::OnRunning() {
  if (state_ != State::kCreated) return;
  state_ = State::kRunning;
  io_->StartInput();
}

void Process::OnOutputDone() {
  output_done_ = true;
  if (pending_exit_) {
    Finish(*std::exchange(pending_exit_, std::nullopt));
  } else {
    WaitForEnd();
  }
}

// Only when the output is at its end, or nobody takes it: an agent forgets a process, and with it the output
// that was not read yet, as soon as it has told its exit code.
void Process::WaitForEnd() {
  const std::shared_ptr<AgentClient> agent = guest_->agent();
  if (waiting_ || !agent) return;
  waiting_ = true;
  agent->WaitProcess(container_id_, guest_exec_id_,
                     [weak = std::weak_ptr(self_)](Result<AgentClient::Exit> ended) {
                       if (const auto self = weak.lock()) (*self)->OnEnd(std::move(ended));
                     });
}

void Process::OnEnd(Result<AgentClient::Exit> ended) {
  if (state_ == State::kStopped) return;
  if (!ended) {
    guest_->Explain(std::move(ended).error(), [weak = std::weak_ptr(self_)](const Error& error) {
      if (const auto self = weak.lock()) (*self)->End(kLostExitCode, error.message());
    });
    return;
  }
  ProcessExit exit{.code = ended->code,
                   .time = std::chrono::system_clock::now(),
                   .error = {},
                   .oom_killed = ended->oom_killed};
  if (output_done_) {
    Finish(std::move(exit));
    return;
  }
  pending_exit_ = std::move(exit);
  drain_timer_.expires_after(kDrainTime);
  drain_timer_.async_wait([weak = std::weak_ptr(self_)](const std::error_code& error) {
    const auto self = weak.lock();
    if (error || !self || !(*self)->pending_exit_) return;
    log::Warning("output of a process was thrown away: nobody reads it",
                 {{"container", (*self)->container_id_}});
    (*self)->Finish(*std::exchange((*self)->pending_exit_, std::nullopt));
  });
}

void Process::End(int code, const std::string& error) {
  if (state_ == State::kStopped) return;
  if (!error.empty()) {
    const std::string line = fmt::format("kata-runtime: container '{}': {}\n", container_id_, error);
    // A process that never was in the guest has no pumps yet.
    if (!io_) {
      io_ = std::make_unique<ProcessIo>(loop_, watcher_, nullptr, std::move(stdio_), ProcessIo::Callbacks{});
    }
    io_->WriteError(line);
  }
  Finish({.code = code, .time = std::chrono::system_clock::now(), .error = error, .oom_killed = false});
}

void Process::Finish(ProcessExit exit) {
  state_ = State::kStopped;
  pending_exit_.reset();
  drain_timer_.cancel();
  io_.reset();
  stdio_ = {};
  exit_ = std::move(exit);
  log::Debug("process ended",
             {{"container", container_id_}, {"process", guest_exec_id_}, {"code", exit_->code}});
  // The handler may be the end of this object's container, but not of this object: its owner deletes it
  // later.
  handlers_.on_exit(*exit_);
  if (!exit_held_) TellExit();
}

void Process::TellExit() {
  channel_.SendExit(exit_->code);
  for (auto& waiter : std::exchange(waiters_, {})) waiter(*exit_);
}

void Process::ReleaseExit() {
  if (std::exchange(exit_held_, false)) TellExit();
}

void Process::Signal(int signal, AgentClient::StatusCallback callback) {
  const std::shared_ptr<AgentClient> agent = guest_->agent();
  if (state_ == State::kStopped) {
    callback(Error(Code::kNotFound, "process already finished"));
  } else if (state_ == State::kCreating || !agent) {
    callback(Error(Code::kFailedPrecondition, "process is not started"));
  } else {
    agent->SignalProcess(container_id_, guest_exec_id_, signal, std::move(callback));
  }
}

void Process::Resize(uint32_t rows, uint32_t columns, AgentClient::StatusCallback callback) {
  if (!terminal_) {
    callback(Error(Code::kFailedPrecondition, "process has no terminal"));
    return;
  }
  window_size_ = {rows, columns};
  SendWindowSize(std::move(callback));
}

void Process::SendWindowSize(AgentClient::StatusCallback callback) {
  const std::shared_ptr<AgentClient> agent = guest_->agent();
  if (!window_size_ || !agent || state_ == State::kCreating || state_ == State::kStopped) {
    callback({});
    return;
  }
  agent->ResizeTerminal(container_id_, guest_exec_id_, window_size_->rows, window_size_->columns,
                        std::move(callback));
}

void Process::CloseInput() {
  if (io_) {
    io_->CloseInput();
  } else {
    stdio_.stdin_fd.Reset();
  }
}

void Process::Wait(std::function<void(const ProcessExit& exit)> callback) {
  if (exit_ && !exit_held_) {
    callback(*exit_);
  } else {
    waiters_.push_back(std::move(callback));
  }
}

}  // namespace kata::sandbox
