// A child by fork(2): this process has one thread, and the child must still load the container's filter,
// which no description of a command could say.
#include "jail/start_hooks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/deadline.h"
#include "base/file.h"
#include "base/process.h"
#include "jail/exec_path.h"
#include "jail/request.h"
#include "oci/hook_time_limit.h"

namespace kata::jail {
namespace {

constexpr std::chrono::seconds kReapTimeout{30};
constexpr off_t kMaxShownBytes = 512;
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

// The end of what the hook wrote, on one line.
std::string Tail(int output_fd) {
  const off_t size = lseek(output_fd, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::clamp<off_t>(size, 0, kMaxShownBytes)), '\0');
  const ssize_t n = pread(output_fd, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return text;
}

Result<ChildProcess> StartHook(const oci::Hook& hook, int state_fd, int output_fd,
                               const std::function<Status()>& assume) {
  const pid_t pid = fork();
  if (pid < 0) return SysError("fork");
  if (pid == 0) ExecuteHook(hook, state_fd, output_fd, assume);
  // Not reaped yet, so the number is still the child's.
  return ChildProcess(pid, TRY(OpenPidfd(pid)));
}

Status RunHook(const oci::Hook& hook, const std::string& state_json, const std::function<Status()>& assume) {
  const UniqueFd state = TRY(MakeSealedMemfd("hook-state", state_json));
  const UniqueFd output(memfd_create("hook-output", MFD_CLOEXEC));
  if (!output) return SysError("create memfd");
  ChildProcess child = TRY(StartHook(hook, state.get(), output.get(), assume));
  const std::chrono::seconds timeout = oci::TimeLimit(hook);
  Result<ExitStatus> status = child.Wait(Deadline::After(timeout));
  if (!status && status.error().code() == Code::kDeadlineExceeded) {
    (void)child.Signal(SIGKILL);
    TRY(child.Wait(Deadline::After(kReapTimeout)));
    return MakeError(Code::kDeadlineExceeded, "did not end within {} s", timeout.count());
  }
  const ExitStatus ended = TRY(std::move(status));
  if (ended.ShellCode() == 0) return {};
  const std::string tail = Tail(output.get());
  return MakeError(Code::kFailedPrecondition, "{}{}{}", ended.Describe(), tail.empty() ? "" : ": ", tail);
}

}  // namespace

Status RunStartHooks(const std::vector<oci::Hook>& hooks, const std::vector<std::string>& environment,
                     const std::string& state_json, const std::function<Status()>& assume) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    oci::Hook hook = hooks[i];
    if (hook.env.empty()) hook.env = environment;
    TRY_CTX(RunHook(hook, state_json, assume), "error running hook: hooks.startContainer[{}]: '{}'", i,
            hook.path);
  }
  return {};
}

}  // namespace kata::jail
