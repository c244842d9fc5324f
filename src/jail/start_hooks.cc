// A child by fork(2): this process has one thread, and the child must still load the container's filter,
// which no description of a command could say.
#include "jail/start_hooks.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iterator>

#include "base/deadline.h"
#include "base/file.h"
#include "base/process.h"
#include "base/take_field.h"
#include "base/utf8.h"
#include "jail/exec_path.h"
#include "oci/hook_time_limit.h"

namespace kata::jail {
namespace {

constexpr std::chrono::seconds kReapTimeout{30};
constexpr size_t kMaxShownBytes = 512;
constexpr size_t kMaxPlainBytes = 3 * kMaxShownBytes;  // of which none is text
constexpr size_t kPipeBytes = 64u << 10;
constexpr int kCannotExecute = 127;  // as a shell

[[noreturn]] void ExecuteHook(const oci::Hook& hook, int state_fd, int output_fd,
                              const std::function<Status()>& assume) {
  const bool placed = dup2(state_fd, 0) == 0 && dup2(output_fd, 1) == 1 && dup2(output_fd, 2) == 2 &&
                      syscall(SYS_close_range, 3U, ~0U, 0) == 0;
  const std::vector<std::string> args = hook.args.empty() ? std::vector{hook.path} : hook.args;
  const std::vector<char*> argv = PointersTo(args);
  const std::vector<char*> envp = PointersTo(hook.env);
  Status status = placed ? assume() : SysError("place file descriptors");
  if (status) {
    execve(hook.path.c_str(), argv.data(), envp.data());
    status = SysError("execute");
  }
  const std::string message = status.error().message();
  (void)!write(2, message.data(), message.size());
  _exit(kCannotExecute);
}

// What the hook writes until it ends; only the end of it is kept. A process that it leaves behind may hold
// the pipe for longer, and write.
Result<std::string> ReadUntilEnd(const ChildProcess& hook, UniqueFd output, Deadline deadline) {
  std::string tail;
  size_t read_after_end = 0;
  while (!deadline.Passed()) {
    pollfd entries[] = {{hook.pidfd(), POLLIN, 0}, {output.get(), POLLIN, 0}};
    const int ready = poll(entries, std::size(entries), deadline.RemainingPollMs());
    if (ready < 0 && errno != EINTR) return SysError("wait for its end");
    if (ready <= 0) continue;
    char buffer[4096];
    const ssize_t count = output ? read(output.get(), buffer, sizeof(buffer)) : 0;
    if (count == 0) output.Reset();
    if (count > 0) tail.append(buffer, static_cast<size_t>(count));
    if (tail.size() > kMaxShownBytes) tail.erase(0, tail.size() - kMaxShownBytes);
    if (entries[0].revents == 0) continue;
    read_after_end += static_cast<size_t>(std::max<ssize_t>(count, 0));
    if (count <= 0 || read_after_end >= kPipeBytes) return tail;
  }
  return Error(Code::kDeadlineExceeded, "");
}

Result<ChildProcess> StartHook(const oci::Hook& hook, int state_fd, int output_fd,
                               const std::function<Status()>& assume) {
  const pid_t pid = fork();
  if (pid < 0) return SysError("fork");
  if (pid == 0) ExecuteHook(hook, state_fd, output_fd, assume);
  // Not reaped yet, so the number is still the child's.
  return ChildProcess(pid, TRY(OpenPidfd(pid)));
}

Status RunHook(const oci::Hook& hook, int state_fd, const std::function<Status()>& assume) {
  // The hooks share one offset.
  if (lseek(state_fd, 0, SEEK_SET) < 0) return SysError("rewind the state");
  PipeEnds output = TRY(MakePipe());
  TRY(SetNonBlocking(output.read.get(), true));
  ChildProcess child = TRY(StartHook(hook, state_fd, output.write.get(), assume));
  output.write.Reset();
  const std::chrono::seconds timeout = oci::TimeLimit(hook);
  const Result<std::string> tail = ReadUntilEnd(child, std::move(output.read), Deadline::After(timeout));
  if (!tail) (void)child.Signal(SIGKILL);
  const ExitStatus ended = TRY(child.Wait(Deadline::After(kReapTimeout)));
  if (!tail && tail.error().code() == Code::kDeadlineExceeded)
    return MakeError(Code::kDeadlineExceeded, "did not end within {} s", timeout.count());
  if (!tail) return tail.error();
  if (ended.ShellCode() == 0) return {};
  const std::string text = ToPlainLine(Trim(*tail), kMaxPlainBytes);
  return MakeError(Code::kFailedPrecondition, "{}{}{}", ended.Describe(), text.empty() ? "" : ": ", text);
}

}  // namespace

Status RunStartHooks(const std::vector<oci::Hook>& hooks, const std::vector<std::string>& environment,
                     const UniqueFd& state, const std::function<Status()>& assume) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    oci::Hook hook = hooks[i];
    if (hook.env.empty()) hook.env = environment;
    TRY_CTX(RunHook(hook, state.get(), assume), "error running hook: hooks.startContainer[{}]: '{}'", i,
            hook.path);
  }
  return {};
}

}  // namespace kata::jail
