#include "base/process.h"

#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "base/log.h"

namespace kata {
namespace {

// Between clone and exec the child of a program with threads may only use prepared data and async-signal-safe
// calls: any lock, malloc's too, may be held by a thread that does not exist in the child. The child here
// goes one step further and enters the kernel only through syscall(2), so that no interceptor of a sanitizer
// runs either.

enum class Step : int32_t {
  kParentDeath,
  kJoinCgroup,
  kNewSession,
  kDuplicateFds,
  kEnterNamespace,
  kChangeDirectory,
  kControllingTty,
  kCoreLimit,
  kDescriptorLimit,
  kSignals,
  kCloseFds,
  kPlaceFds,
  kExecute,
};

// What the child writes into the error pipe when a step fails.
struct ChildFailure {
  Step step;
  int32_t index;  // of the namespace or cgroup
  int32_t error;
};

struct FdMove {
  int source;
  int target;
  int high = -1;  // where the child keeps the source until all targets may be overwritten
};

// All that the child needs, prepared by the parent.
struct ChildPlan {
  const Command* command = nullptr;
  std::vector<std::string> executables;  // candidates, tried in this order
  std::vector<const char*> executable_paths;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<FdMove> moves;
  int first_high_fd = 3;
  int error_fd = -1;
  int parent_pidfd = -1;
  uint64_t signal_mask = 0;  // of the parent
};

// Of the programs that are started; set where this process has another.
std::optional<rlimit64> descriptor_limit;

constexpr int kSignalCount = 64;
constexpr size_t kKernelSigsetSize = sizeof(uint64_t);  // the kernel's sigset_t, not glibc's
constexpr auto kSpawnTimeout = std::chrono::seconds(60);
constexpr auto kReapTimeout = std::chrono::seconds(30);

[[noreturn]] void FailChild(int error_fd, Step step, int index = 0) {
  const ChildFailure failure{step, index, errno};
  (void)syscall(SYS_write, error_fd, &failure, sizeof failure);
  syscall(SYS_exit_group, 127);
  __builtin_unreachable();
}

// The kernel's struct sigaction begins with the handler on all architectures; all zero means SIG_DFL, no
// flags, empty mask.
bool ResetSignals(bool reset_ignored) {
  for (int signal = 1; signal <= kSignalCount; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    uint64_t action[8] = {};
    if (syscall(SYS_rt_sigaction, signal, nullptr, action, kKernelSigsetSize) < 0) return false;
    const bool ignored = action[0] == reinterpret_cast<uintptr_t>(SIG_IGN);
    if (ignored && !reset_ignored) continue;
    // A handler of ours must not run in the child in the moment between unblocking and execve.
    const uint64_t defaults[8] = {};
    if (syscall(SYS_rt_sigaction, signal, defaults, nullptr, kKernelSigsetSize) < 0) return false;
  }
  return true;
}

// Leaves the planned descriptors at their numbers and every other one above 2 close-on-exec. Sources and
// targets may overlap in any way: all sources are first copied above all targets.
void PlaceFds(ChildPlan& plan, int error_fd) {
  if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0) FailChild(error_fd, Step::kCloseFds);
  for (const FdMove& move : plan.moves) {
    // dup3 without O_CLOEXEC: the target is inherited.
    if (syscall(SYS_dup3, move.high, move.target, 0) < 0) FailChild(error_fd, Step::kPlaceFds, move.target);
  }
}

[[noreturn]] void RunChild(ChildPlan& plan) {
  const Command& command = *plan.command;
  int error_fd = plan.error_fd;
  const int high_error_fd =
      static_cast<int>(syscall(SYS_fcntl, error_fd, F_DUPFD_CLOEXEC, plan.first_high_fd));
  if (high_error_fd < 0) FailChild(error_fd, Step::kDuplicateFds);
  error_fd = high_error_fd;
  for (FdMove& move : plan.moves) {
    move.high = static_cast<int>(syscall(SYS_fcntl, move.source, F_DUPFD_CLOEXEC, plan.first_high_fd));
    if (move.high < 0) FailChild(error_fd, Step::kDuplicateFds, move.source);
  }

  for (size_t i = 0; i < command.cgroup_procs_fds.size(); ++i) {
    // "0" names the writing process (cgroups(7)).
    if (syscall(SYS_write, command.cgroup_procs_fds[i], "0", 1) < 0) {
      FailChild(error_fd, Step::kJoinCgroup, command.cgroup_procs_fds[i]);
    }
  }
  if (command.new_session && syscall(SYS_setsid) < 0) FailChild(error_fd, Step::kNewSession);
  if (command.controlling_tty_fd >= 0 && syscall(SYS_ioctl, command.controlling_tty_fd, TIOCSCTTY, 0) < 0) {
    FailChild(error_fd, Step::kControllingTty);
  }
  for (const int fd : command.namespace_fds) {
    if (syscall(SYS_setns, fd, 0) < 0) FailChild(error_fd, Step::kEnterNamespace, fd);
  }
  if (!command.working_directory.empty() && syscall(SYS_chdir, command.working_directory.c_str()) < 0) {
    FailChild(error_fd, Step::kChangeDirectory);
  }
  if (command.parent_death_signal != 0) {
    // After setns: a change of credentials clears the setting (prctl(2)). A parent that died before it sends
    // nothing.
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, command.parent_death_signal, 0, 0, 0) < 0) {
      FailChild(error_fd, Step::kParentDeath);
    }
    // Not getppid(2), which knows no parent in another pid namespace.
    pollfd parent{plan.parent_pidfd, POLLIN, 0};
    if (syscall(SYS_poll, &parent, 1, 0) != 0) {
      errno = ESRCH;
      FailChild(error_fd, Step::kParentDeath);
    }
  }
  if (!command.allow_core_dump) {
    const rlimit64 none{0, 0};
    if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, nullptr) < 0) FailChild(error_fd, Step::kCoreLimit);
  }
  if (command.keep_capabilities) {
    const long bits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
    if (bits >= 0) syscall(SYS_prctl, PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  }
  PlaceFds(plan, error_fd);
  // Now that no descriptor above the lower limit is made any more.
  if (descriptor_limit && syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &*descriptor_limit, nullptr) < 0) {
    FailChild(error_fd, Step::kDescriptorLimit);
  }
  if (!ResetSignals(command.reset_signals)) FailChild(error_fd, Step::kSignals);
  const uint64_t mask = command.reset_signals ? 0 : plan.signal_mask;
  if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, kKernelSigsetSize) < 0) {
    FailChild(error_fd, Step::kSignals);
  }

  // As execvp(3): a candidate that is not there is passed over, one that may not be executed is remembered.
  int result = ENOENT;
  for (const char* path : plan.executable_paths) {
    syscall(SYS_execve, path, plan.argv.data(), plan.envp.data());
    if (errno == EACCES) result = EACCES;
    if (errno != EACCES && errno != ENOENT && errno != ENOTDIR) {
      result = errno;
      break;
    }
    if (plan.executable_paths.size() == 1) result = errno;
  }
  errno = result;
  FailChild(error_fd, Step::kExecute);
}

Error DescribeFailure(const Command& command, const ChildFailure& failure) {
  std::string what;
  switch (failure.step) {
    case Step::kParentDeath:
      what = "follow the parent's death";
      break;
    case Step::kJoinCgroup:
      what = fmt::format("join cgroup (file descriptor {})", failure.index);
      break;
    case Step::kNewSession:
      what = "create session";
      break;
    case Step::kDuplicateFds:
      what = fmt::format("duplicate file descriptor {}", failure.index);
      break;
    case Step::kEnterNamespace:
      what = fmt::format("enter namespace (file descriptor {})", failure.index);
      break;
    case Step::kChangeDirectory:
      what = fmt::format("change directory to '{}'", command.working_directory);
      break;
    case Step::kControllingTty:
      what = "set controlling terminal";
      break;
    case Step::kCoreLimit:
      what = "set limit of core dumps";
      break;
    case Step::kDescriptorLimit:
      what = "set limit of open descriptors";
      break;
    case Step::kSignals:
      what = "reset signals";
      break;
    case Step::kCloseFds:
      what = "mark file descriptors close-on-exec";
      break;
    case Step::kPlaceFds:
      what = fmt::format("place file descriptor {}", failure.index);
      break;
    case Step::kExecute:
      return ErrnoError(failure.error, fmt::format("execute '{}'", command.program));
  }
  return ErrnoError(failure.error, what).Wrap(fmt::format("execute '{}'", command.program));
}

std::vector<std::string> ExecutableCandidates(const std::string& program) {
  if (program.contains('/')) return {program};
  const char* path = getenv("PATH");
  std::string_view rest = path != nullptr ? path : kDefaultSearchPath;
  std::vector<std::string> candidates;
  for (;;) {
    const size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    // An empty element would mean the working directory; a privileged program does not look there.
    if (!directory.empty()) candidates.push_back(fmt::format("{}/{}", directory, program));
    if (colon == std::string_view::npos) return candidates;
    rest.remove_prefix(colon + 1);
  }
}

Status CheckCommand(const Command& command) {
  const auto reject = [&](std::string_view why) {
    return MakeError(Code::kInvalidArgument, "execute '{}': {}", command.program, why);
  };
  if (command.program.empty()) return MakeError(Code::kInvalidArgument, "execute: the program has no name");
  // A string with a NUL byte would arrive cut off.
  const auto has_nul = [](const std::string& text) { return text.contains('\0'); };
  if (has_nul(command.program) || has_nul(command.argv0.value_or("")) || has_nul(command.working_directory) ||
      std::any_of(command.args.begin(), command.args.end(), has_nul) ||
      (command.environment &&
       std::any_of(command.environment->begin(), command.environment->end(), has_nul))) {
    return reject("a NUL byte in program, arguments, environment or working directory");
  }
  for (const auto& [target, source] : command.inherited_fds) {
    if (target < 3 || source < 0) return reject("inherited descriptors must be numbered 3 and above");
  }
  if (command.controlling_tty_fd >= 0 && !command.new_session) {
    return reject("a controlling terminal needs a new session");
  }
  return {};
}

ChildPlan MakePlan(const Command& command, int null_fd, int error_fd, int parent_pidfd) {
  ChildPlan plan;
  plan.command = &command;
  plan.executables = ExecutableCandidates(command.program);
  for (const std::string& path : plan.executables) plan.executable_paths.push_back(path.c_str());

  // execve takes char* but does not write to it.
  const auto writable = [](const std::string& text) { return const_cast<char*>(text.c_str()); };
  plan.argv.push_back(writable(command.argv0 ? *command.argv0 : command.program));
  for (const std::string& arg : command.args) plan.argv.push_back(writable(arg));
  plan.argv.push_back(nullptr);
  if (command.environment) {
    for (const std::string& entry : *command.environment) plan.envp.push_back(writable(entry));
  } else {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) plan.envp.push_back(*entry);
  }
  plan.envp.push_back(nullptr);

  const int stdio[] = {command.stdin_fd, command.stdout_fd, command.stderr_fd};
  for (int target = 0; target < 3; ++target) {
    plan.moves.push_back({stdio[target] >= 0 ? stdio[target] : null_fd, target});
  }
  for (const auto& [target, source] : command.inherited_fds) plan.moves.push_back({source, target});
  for (const FdMove& move : plan.moves) plan.first_high_fd = std::max(plan.first_high_fd, move.target + 1);
  plan.error_fd = error_fd;
  plan.parent_pidfd = parent_pidfd;
  return plan;
}

// The clone, with all signals blocked around it.
Result<ChildProcess> CloneChild(ChildPlan& plan) {
  const uint64_t all = ~0ULL;
  if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &plan.signal_mask, kKernelSigsetSize) < 0) {
    return SysError("block signals");
  }
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | (plan.command->new_pid_namespace ? CLONE_NEWPID : 0);
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) RunChild(plan);
  const int clone_errno = errno;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &plan.signal_mask, nullptr, kKernelSigsetSize);
  if (pid < 0) return ErrnoError(clone_errno, "clone");
  return ChildProcess(pid, UniqueFd(pidfd));
}

// setns(2) with a pid namespace moves the children to come of the calling thread; so it is moved back.
Result<ChildProcess> CloneInPidNamespace(ChildPlan& plan) {
  const int pid_namespace = plan.command->pid_namespace_fd;
  if (pid_namespace < 0) return CloneChild(plan);
  const UniqueFd own = TRY(Open("/proc/thread-self/ns/pid", O_RDONLY));
  if (setns(pid_namespace, CLONE_NEWPID) < 0) return SysError("enter pid namespace");
  Result<ChildProcess> child = CloneChild(plan);
  if (setns(own.get(), CLONE_NEWPID) < 0) return SysError("return from pid namespace");
  return child;
}

// Nothing when the child reached execve, which closed its end of the pipe.
Status ReadChildFailure(const Command& command, int fd) {
  TRY(WaitFd(fd, POLLIN, Deadline::After(kSpawnTimeout), fmt::format("the start of '{}'", command.program)));
  ChildFailure failure{};
  ssize_t count;
  do {
    count = read(fd, &failure, sizeof failure);
  } while (count < 0 && errno == EINTR);
  if (count == 0) return {};
  if (count < 0) return SysError("read from the child that starts '{}'", command.program);
  return DescribeFailure(command, failure);
}

ExitStatus ToExitStatus(const siginfo_t& info) {
  ExitStatus status;
  (info.si_code == CLD_EXITED ? status.code : status.signal) = info.si_status;
  return status;
}

}  // namespace

std::string ExitStatus::Describe() const {
  if (signal == 0) return fmt::format("exit status {}", code);
  const char* known = sigdescr_np(signal);
  std::string name = known != nullptr ? known : "unknown";
  // As the rest of the sentence that this becomes a part of.
  name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return fmt::format("signal {} ({})", signal, name);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    ChildProcess old(std::move(*this));
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  if (!valid()) return;
  const pid_t pid = pid_;
  (void)Signal(SIGKILL);  // fails only if it has ended
  const Result<ExitStatus> status = Wait(Deadline::After(kReapTimeout));
  if (!status) log::Debug("cannot reap a child process", {{"pid", pid}, {"error", status.error().message()}});
}

Status ChildProcess::Signal(int signal) const {
  TRY_CTX(SignalPidfd(pidfd_.get(), signal), "process {}", pid_);
  return {};
}

Result<ExitStatus> ChildProcess::Wait(Deadline deadline) {
  TRY(WaitFd(pidfd_.get(), POLLIN, deadline, fmt::format("the end of process {}", pid_)));
  std::optional<ExitStatus> status = TRY(TryWait());
  if (!status)
    return MakeError(Code::kInternal, "wait for the end of process {}: its pidfd is readable, yet it runs",
                     pid_);
  return *status;
}

Result<std::optional<ExitStatus>> ChildProcess::TryWait() {
  siginfo_t info{};
  int result;
  do {
    result = waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return SysError("wait for process {}", pid_);
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  (void)Detach();
  return std::optional<ExitStatus>(ToExitStatus(info));
}

Result<ExitStatus> ChildProcess::Terminate(std::chrono::milliseconds grace) {
  (void)Signal(SIGTERM);
  Result<ExitStatus> status = Wait(Deadline::After(grace));
  if (status || status.error().code() != Code::kDeadlineExceeded) return status;
  (void)Signal(SIGKILL);
  return Wait(Deadline::After(kReapTimeout));
}

pid_t ChildProcess::Detach() {
  pidfd_.Reset();
  return std::exchange(pid_, -1);
}

std::string Command::Describe() const {
  std::string line;
  const auto add = [&](const std::string& word) {
    if (!line.empty()) line += ' ';
    const auto plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("-_./,:=@%+").contains(c);
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) {
      line += word;
      return;
    }
    line += '\'';
    for (const char c : word) {
      if (c == '\'') {
        line += R"('\'')";
      } else {
        line += c;
      }
    }
    line += '\'';
  };
  add(program);
  for (const std::string& arg : args) add(arg);
  return line;
}

Status RaiseDescriptorLimit() {
  rlimit64 limit{};
  if (getrlimit64(RLIMIT_NOFILE, &limit) < 0) return SysError("read the limit of open descriptors");
  descriptor_limit = limit;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit64(RLIMIT_NOFILE, &limit) < 0) return SysError("raise the limit of open descriptors");
  return {};
}

Result<ChildProcess> Spawn(const Command& command) {
  TRY(CheckCommand(command));
  const UniqueFd null_fd = TRY_CTX(Open("/dev/null", O_RDWR), "execute '{}'", command.program);
  PipeEnds error_pipe = TRY_CTX(MakePipe(), "execute '{}'", command.program);
  const UniqueFd own_pidfd = TRY_CTX(OpenPidfd(getpid()), "execute '{}'", command.program);
  ChildPlan plan = MakePlan(command, null_fd.get(), error_pipe.write.get(), own_pidfd.get());
  ChildProcess child = TRY_CTX(CloneInPidNamespace(plan), "execute '{}'", command.program);
  error_pipe.write.Reset();
  TRY(ReadChildFailure(command, error_pipe.read.get()));
  return child;
}

Result<UniqueFd> OpenPidfd(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return SysError("open process {}", pid);
  return UniqueFd(fd);
}

Status SignalPidfd(int pidfd, int signal) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0)
    return SysError("send signal {}", signal);
  return {};
}

namespace {

// Field `number` of /proc/<pid>/stat, from the third on. The second, the name in parentheses, may itself
// contain spaces and parentheses (proc(5)).
Result<std::string> StatField(pid_t pid, int number) {
  const std::string path = fmt::format("/proc/{}/stat", pid);
  const std::string stat = TRY(ReadFile(path));
  size_t position = stat.rfind(')');
  for (int field = 2; field < number && position != std::string::npos; ++field)
    position = stat.find(' ', position + 1);
  if (position == std::string::npos)
    return MakeError(Code::kInternal, "parse '{}': fewer than {} fields", path, number);
  const size_t begin = position + 1;
  return stat.substr(begin, stat.find(' ', begin) - begin);
}

}  // namespace

Result<unsigned long long> ProcessStartTime(pid_t pid) {
  return strtoull(TRY(StatField(pid, 22)).c_str(), nullptr, 10);
}

Result<char> ProcessState(pid_t pid) {
  return TRY(StatField(pid, 3)).front();
}

}  // namespace kata
