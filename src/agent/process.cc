#include "agent/process.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "linux/terminal.h"

namespace kata::agent {

Result<std::shared_ptr<Process>> Process::Adopt(EventLoop& loop, Reaper& reaper, std::string description,
                                                ChildProcess child, StdioEnds stdio) {
  std::shared_ptr<Process> process(new Process(std::move(description), child.pid()));
  process->pidfd_ = TRY_CTX(DuplicateFd(child.pidfd()), "{}", process->description_);
  if (stdio.terminal.valid()) {
    UniqueFd for_output = TRY(stdio.terminal.Duplicate());
    UniqueFd for_input = TRY(stdio.terminal.Duplicate());
    process->stdout_ = std::make_shared<OutputStream>(loop, std::move(for_output));
    process->stdin_ = std::make_shared<InputStream>(loop, std::move(for_input), true);
    process->terminal_ = std::move(stdio.terminal);
  } else {
    process->stdout_ = std::make_shared<OutputStream>(loop, std::move(stdio.stdout_reader));
    process->stderr_ = std::make_shared<OutputStream>(loop, std::move(stdio.stderr_reader));
    process->stdin_ = std::make_shared<InputStream>(loop, std::move(stdio.stdin_writer), false);
  }
  TRY(reaper.Watch(std::move(child), [process](ExitStatus status) { process->Ended(status); }));
  return process;
}

bool Process::finished() const {
  return waited_for_ && stdout_->finished() && (!stderr_ || stderr_->finished());
}

Result<UniqueFd> Process::DuplicatePidfd() const {
  return pidfd_.Duplicate();
}

Status Process::Signal(int signal) const {
  if (ended()) return {};
  Status status = SignalPidfd(pidfd_.get(), signal);
  if (!status && status.error().sys_errno() == ESRCH) return {};
  if (!status) return std::move(status).error().Wrap(fmt::format("signal {}", description_));
  return {};
}

void Process::Wait(WaitCallback callback) {
  if (!ended()) {
    waiters_.push_back(std::move(callback));
    return;
  }
  waited_for_ = true;
  callback(status_->ShellCode());
}

void Process::Ended(ExitStatus status) {
  log::Debug("process ended",
             {{"process", description_}, {"process-pid", pid_}, {"status", status.Describe()}});
  status_ = status;
  stdout_->ProcessEnded();
  if (stderr_) stderr_->ProcessEnded();
  stdin_->Abandon();
  if (on_exit_) std::exchange(on_exit_, {})();
  for (WaitCallback& waiter : std::exchange(waiters_, {})) {
    waited_for_ = true;
    waiter(status_->ShellCode());
  }
}

void Process::ReadStdout(size_t max_bytes, uint64_t connection_id, OutputStream::ReadCallback callback) {
  stdout_->Read(max_bytes, connection_id, std::move(callback));
}

void Process::ReadStderr(size_t max_bytes, uint64_t connection_id, OutputStream::ReadCallback callback) {
  if (!stderr_) {
    callback(std::string());
    return;
  }
  stderr_->Read(max_bytes, connection_id, std::move(callback));
}

void Process::WriteStdin(std::string data, InputStream::WriteCallback callback) {
  if (data.empty()) {
    CloseStdin();
    callback(size_t{0});
    return;
  }
  stdin_->Write(std::move(data), std::move(callback));
}

void Process::CloseStdin() {
  stdin_->Close();
}

Status Process::Resize(uint32_t rows, uint32_t columns) {
  if (!terminal_.valid()) {
    return MakeError(Code::kFailedPrecondition, "{} has no terminal", description_);
  }
  return linux::SetWindowSize(terminal_.get(), {static_cast<uint16_t>(std::min(rows, 0xffffu)),
                                                static_cast<uint16_t>(std::min(columns, 0xffffu))});
}

void Process::DropConnection(uint64_t connection_id) {
  stdout_->DropConnection(connection_id);
  if (stderr_) stderr_->DropConnection(connection_id);
}

}  // namespace kata::agent
