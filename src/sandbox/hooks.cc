#include "sandbox/hooks.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/utf8.h"
#include "oci/hook_time_limit.h"

namespace kata::sandbox {
namespace {

constexpr size_t kMaxOutputBytes = 4096;
constexpr size_t kMaxOutputInError = 500;
// What a hook leaves running may hold its output open; it is not waited for.
constexpr std::chrono::milliseconds kOutputGrace{200};

// One hook while it runs.
class RunningHook {
 public:
  static Result<RunningHook> Start(const oci::Hook& hook, const HookRun& run) {
    PipeEnds input = TRY(MakePipe());
    PipeEnds output = TRY(MakePipe());
    TRY(SetNonBlocking(input.write.get(), true));
    TRY(SetNonBlocking(output.read.get(), true));
    Command command;
    command.program = hook.path;
    if (!hook.args.empty()) {
      command.argv0 = hook.args[0];
      command.args.assign(hook.args.begin() + 1, hook.args.end());
    }
    if (!hook.env.empty()) command.environment = hook.env;
    command.working_directory = run.working_directory;
    command.stdin_fd = input.read.get();
    command.stdout_fd = output.write.get();
    command.stderr_fd = output.write.get();
    command.namespace_fds = run.namespace_fds;
    command.new_session = true;  // killed with what it has started
    command.parent_death_signal = SIGKILL;
    ChildProcess process = TRY(Spawn(command));
    return RunningHook(std::move(process), std::move(input.write), std::move(output.read),
                       oci::ToJson(run.state));
  }
  RunningHook(RunningHook&&) = default;
  ~RunningHook() { Kill(); }

  // Its end.
  Result<ExitStatus> Await(Deadline deadline, int cancel_fd) {
    for (;;) {
      pollfd fds[] = {{process_.pidfd(), POLLIN, 0},
                      {cancel_fd, POLLIN, 0},
                      {input_.get(), POLLOUT, 0},
                      {output_.get(), POLLIN, 0}};
      const int ready = poll(fds, std::size(fds), deadline.RemainingPollMs());
      if (ready < 0 && errno != EINTR) return SysError("wait for it");
      if (fds[3].revents != 0) ReadOutput();
      if (fds[2].revents != 0) WriteInput();
      if (fds[0].revents != 0) break;
      if (fds[1].revents != 0) return Error(Code::kCancelled, "cancelled");
      if (deadline.Passed()) return Error(Code::kDeadlineExceeded, "timed out");
    }
    const std::optional<ExitStatus> status = TRY(process_.TryWait());
    const Deadline grace = Deadline::After(kOutputGrace);
    while (output_ && !grace.Passed()) {
      pollfd fd{output_.get(), POLLIN, 0};
      if (poll(&fd, 1, grace.RemainingPollMs()) > 0) ReadOutput();
    }
    return status.value_or(ExitStatus{});
  }

  // The end of what it wrote, as a part of one line; empty when it wrote nothing.
  std::string LastWords() const {
    const std::string line = ToPlainLine(output_text_, kMaxOutputBytes);
    return line.size() <= kMaxOutputInError ? line : "..." + line.substr(line.size() - kMaxOutputInError);
  }

 private:
  RunningHook(ChildProcess process, UniqueFd input, UniqueFd output, std::string state)
      : process_(std::move(process)),
        input_(std::move(input)),
        output_(std::move(output)),
        state_(std::move(state)) {}

  void Kill() {
    // Its session's processes, while its number cannot be another's yet.
    if (process_.valid()) (void)kill(-process_.pid(), SIGKILL);
  }
  void WriteInput() {
    const ssize_t written = write(input_.get(), state_.data(), state_.size());
    if (written >= 0) {
      state_.erase(0, static_cast<size_t>(written));
      if (state_.empty()) input_.Reset();
    } else if (errno != EAGAIN && errno != EINTR) {
      input_.Reset();  // it does not want to know
    }
  }
  void ReadOutput() {
    char buffer[4096];
    const ssize_t count = read(output_.get(), buffer, sizeof buffer);
    if (count > 0) {
      output_text_.append(buffer, static_cast<size_t>(count));
      if (output_text_.size() > kMaxOutputBytes) {
        output_text_.erase(0, output_text_.size() - kMaxOutputBytes);
      }
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      output_.Reset();
    }
  }

  ChildProcess process_;
  UniqueFd input_;
  UniqueFd output_;
  std::string state_;  // not written yet
  std::string output_text_;
};

Status RunHook(const oci::Hook& hook, const HookRun& run) {
  const std::chrono::seconds limit = oci::TimeLimit(hook);
  RunningHook running = TRY(RunningHook::Start(hook, run));
  const Result<ExitStatus> status = running.Await(Deadline::After(limit), run.cancel_fd);
  const std::string words = running.LastWords();
  const std::string said = words.empty() ? "" : ": " + words;
  if (status && status->ShellCode() == 0) return {};
  if (status) return MakeError(Code::kAborted, "{}{}", status->Describe(), said);
  if (status.error().code() != Code::kDeadlineExceeded) return Error(status.error());
  return MakeError(Code::kAborted, "it was killed after its time-out of {} s{}", limit.count(), said);
}

}  // namespace

Status RunHooks(const std::vector<oci::Hook>& hooks, const HookRun& run) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const log::Step step("run hook",
                         {{"container", run.state.id}, {"point", run.point}, {"path", hooks[i].path}});
    Status status = RunHook(hooks[i], run);
    if (status) continue;
    const bool cancelled = status.error().code() == Code::kCancelled;
    Error error = std::move(status).error().Wrap(
        fmt::format("error running hook: {} hook #{} '{}'", run.point, i, hooks[i].path));
    return cancelled ? std::move(error) : std::move(error).WithCode(Code::kAborted);
  }
  return {};
}

std::chrono::seconds StartTimeLimit(const oci::Hooks& hooks) {
  return oci::TimeLimit(hooks.start_container) + oci::TimeLimit(hooks.poststart);
}

}  // namespace kata::sandbox
