#include "hypervisor/vm.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "hypervisor/assets.h"
#include "hypervisor/console_log.h"

namespace kata::hypervisor {
namespace {

constexpr size_t kReadChunk = 16u << 10;
// Reads of one descriptor before others get their turn: a guest that floods its console must not hold the
// loop.
constexpr int kReadsPerTurn = 8;
// A VMM that has closed its control channel is about to end.
constexpr std::chrono::seconds kExitTime{2};
constexpr std::chrono::seconds kDestructorStopTime{5};
// SIGKILL is not subject to the caller's deadline: leaving a process behind would be worse than being late.
constexpr std::chrono::seconds kKillTime{10};

using Descriptor = asio::posix::stream_descriptor;

Status Watch(Descriptor& descriptor, UniqueFd fd) {
  asio::error_code error;
  descriptor.assign(fd.get(), error);
  if (error) return ErrnoError(error.value(), "watch file descriptor");
  (void)fd.Release();
  return {};
}

void Close(Descriptor& descriptor) {
  asio::error_code ignored;
  descriptor.close(ignored);
}

}  // namespace

// Shared with the handlers that wait on the loop. The descriptors belong to the loop thread once
// StartWatching has been posted; the rest is guarded by mutex_.
class Vm::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, Options options)
      : loop_(loop),
        options_(std::move(options)),
        pidfd_(loop.context()),
        stderr_(loop.context()),
        console_(loop.context()) {}

  // Executes the plan and begins to watch the process. Returns our end of the control channel.
  Result<UniqueFd> Launch(const LaunchPlan& plan);
  // Control over a VMM that has not ended since; an error carries its last words.
  Status Connect(const Driver& driver, UniqueFd control_socket, Deadline deadline);
  Status Stop(Deadline deadline);
  void Close();

  VmControl& control() { return *control_; }
  pid_t pid() const { return pid_; }
  bool running() const {
    std::lock_guard lock(mutex_);
    return !exit_status_;
  }
  std::string LastWords() const {
    std::lock_guard lock(mutex_);
    return LastWordsLocked();
  }

 private:
  using Consume = void (Impl::*)(std::string_view bytes);

  void StartWatching();
  void WatchExit();
  void WatchOutput(Descriptor& descriptor, Consume consume);
  // Reads what is there, at most `turns` chunks; false at the end of the stream.
  bool ReadOutput(Descriptor& descriptor, Consume consume, int turns);
  void ConsumeStderr(std::string_view bytes);
  void ConsumeConsole(std::string_view bytes);
  void OnConsoleLine(std::string_view line);
  void OnExit();
  // Reaps, where nobody has yet. REQUIRES: mutex_ held.
  void ReapLocked();
  bool WaitExit(Deadline deadline);
  std::string LastWordsLocked() const;

  EventLoop& loop_;
  const Options options_;
  pid_t pid_ = -1;
  UniqueFd exit_fd_;  // a pidfd that stays open when the process has been reaped
  std::unique_ptr<VmControl> control_;
  // Set when the owner has lost interest: no callback begins any more.
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;
  std::condition_variable exited_;
  ChildProcess process_;
  std::optional<ExitStatus> exit_status_;
  bool drained_ = false;  // all output of the ended process has been read
  bool connected_ = false;
  ErrorOutput error_output_;
  ConsoleLog console_log_;

  Descriptor pidfd_;
  Descriptor stderr_;
  Descriptor console_;
};

Result<UniqueFd> Vm::Impl::Launch(const LaunchPlan& plan) {
  SocketPairEnds control = TRY(MakeSocketPair(SOCK_STREAM));
  SocketPairEnds console = TRY(MakeSocketPair(SOCK_STREAM));
  PipeEnds errors = TRY(MakePipe());
  TRY(SetNonBlocking(console.first.get(), true));
  TRY(SetNonBlocking(errors.read.get(), true));

  Command command;
  command.program = plan.program;
  command.args = plan.args;
  command.stderr_fd = errors.write.get();
  command.inherited_fds = plan.inherited_fds;
  if (plan.control_fd >= 0) command.inherited_fds[plan.control_fd] = control.second.get();
  if (plan.console_fd >= 0) command.inherited_fds[plan.console_fd] = console.second.get();
  command.new_session = true;  // a Ctrl-C at our terminal is for us to handle
  // Follows the thread that spawns, not the process (prctl(2)); hence Start's demand on its caller's thread.
  command.parent_death_signal = SIGKILL;
  command.namespace_fds = options_.namespace_fds;
  command.cgroup_procs_fds = options_.cgroup_procs_fds;
  process_ = TRY(Spawn(command));
  exit_fd_ = TRY(OpenPidfd(process_.pid()));
  pid_ = process_.pid();

  TRY(Watch(pidfd_, TRY(exit_fd_.Duplicate())));
  TRY(Watch(stderr_, std::move(errors.read)));
  TRY(Watch(console_, std::move(console.first)));
  loop_.Post([self = shared_from_this()] { self->StartWatching(); });
  return std::move(control.first);
}

Status Vm::Impl::Connect(const Driver& driver, UniqueFd control_socket, Deadline deadline) {
  Result<std::unique_ptr<VmControl>> control = driver.Connect(std::move(control_socket), deadline);
  std::unique_lock lock(mutex_);
  if (control) {
    control_ = std::move(*control);
    connected_ = true;
    if (!exit_status_) return {};
  } else if (control.error().code() == Code::kUnavailable) {
    exited_.wait_until(lock, Deadline::After(kExitTime).time(), [&] { return drained_; });
  }
  const std::string words = LastWordsLocked();
  if (exit_status_) return Error(Code::kInternal, words);
  return words.empty() ? std::move(control).error()
                       : MakeError(control.error().code(), "{}: {}", control.error().message(), words);
}

void Vm::Impl::StartWatching() {
  WatchExit();
  WatchOutput(stderr_, &Impl::ConsumeStderr);
  WatchOutput(console_, &Impl::ConsumeConsole);
}

void Vm::Impl::WatchExit() {
  pidfd_.async_wait(Descriptor::wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->OnExit();
  });
}

void Vm::Impl::WatchOutput(Descriptor& descriptor, Consume consume) {
  descriptor.async_wait(Descriptor::wait_read,
                        [self = shared_from_this(), &descriptor, consume](const asio::error_code& error) {
                          if (error || !descriptor.is_open()) return;
                          if (self->ReadOutput(descriptor, consume, kReadsPerTurn)) {
                            self->WatchOutput(descriptor, consume);
                          } else {
                            hypervisor::Close(descriptor);
                          }
                        });
}

bool Vm::Impl::ReadOutput(Descriptor& descriptor, Consume consume, int turns) {
  char buffer[kReadChunk];
  for (; turns > 0; --turns) {
    const ssize_t count = read(descriptor.native_handle(), buffer, sizeof buffer);
    if (count > 0) {
      (this->*consume)({buffer, static_cast<size_t>(count)});
    } else if (count == 0) {
      return false;
    } else if (errno != EINTR) {
      return errno == EAGAIN;
    }
  }
  return true;
}

void Vm::Impl::ConsumeStderr(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  error_output_.Append(bytes);
}

void Vm::Impl::ConsumeConsole(std::string_view bytes) {
  // The callback may ask for LastWords(), so it runs when the lock is free again.
  std::vector<std::string> lines;
  {
    std::lock_guard lock(mutex_);
    console_log_.Append(bytes, [&](std::string_view line) { lines.emplace_back(line); });
  }
  for (const std::string& line : lines) OnConsoleLine(line);
}

void Vm::Impl::OnConsoleLine(std::string_view line) {
  if (options_.on_console_line && !stopping_) options_.on_console_line(line);
}

void Vm::Impl::OnExit() {
  // The process is gone, so that what it wrote is all there; the bound is for a descriptor that lives on
  // elsewhere.
  constexpr int kDrainTurns = 64;
  if (stderr_.is_open()) ReadOutput(stderr_, &Impl::ConsumeStderr, kDrainTurns);
  if (console_.is_open()) ReadOutput(console_, &Impl::ConsumeConsole, kDrainTurns);
  std::vector<std::string> lines;
  std::string reason;
  bool report;
  {
    std::lock_guard lock(mutex_);
    ReapLocked();
    error_output_.Finish();
    console_log_.Finish([&](std::string_view line) { lines.emplace_back(line); });
    drained_ = true;
    reason = LastWordsLocked();
    report = connected_ && !stopping_;
    exited_.notify_all();
  }
  for (const std::string& line : lines) OnConsoleLine(line);
  if (report && options_.on_exit) options_.on_exit(reason);
  Close();
}

void Vm::Impl::ReapLocked() {
  if (exit_status_) return;
  if (Result<std::optional<ExitStatus>> status = process_.TryWait(); status && *status) {
    exit_status_ = **status;
  }
}

bool Vm::Impl::WaitExit(Deadline deadline) {
  if (!WaitFd(exit_fd_.get(), POLLIN, deadline, "end of the vmm")) return false;
  std::lock_guard lock(mutex_);
  ReapLocked();
  return exit_status_.has_value();
}

Status Vm::Impl::Stop(Deadline deadline) {
  stopping_ = true;
  if (!running()) return {};
  // A VMM that hangs or never offered control is killed all the same.
  if (control_ && control_->Quit(deadline) && WaitExit(deadline)) return {};
  {
    std::lock_guard lock(mutex_);
    if (!exit_status_) TRY_CTX(process_.Signal(SIGKILL), "kill vmm {}", pid_);
  }
  if (!WaitExit(Deadline::After(kKillTime))) {
    return MakeError(Code::kDeadlineExceeded, "wait for killed vmm {} to end: deadline exceeded", pid_);
  }
  return {};
}

void Vm::Impl::Close() {
  loop_.Post([self = shared_from_this()] {
    hypervisor::Close(self->pidfd_);
    hypervisor::Close(self->stderr_);
    hypervisor::Close(self->console_);
  });
}

std::string Vm::Impl::LastWordsLocked() const {
  std::string words = exit_status_ ? exit_status_->Describe() : "";
  const auto add = [&words](std::string_view label, const std::string& text) {
    if (text.empty()) return;
    if (!words.empty()) words += ": ";
    words += label;
    words += text;
  };
  add("", error_output_.Summary());
  add("guest console: ", console_log_.Summary());
  return words;
}

Result<std::unique_ptr<Vm>> Vm::Start(EventLoop& loop, const Driver& driver, const VmSpec& spec,
                                      Options options, Deadline deadline) {
  const std::string context = fmt::format("start {}", driver.name());
  VmSpec resolved = spec;
  resolved.acceleration = ResolveAcceleration(spec.acceleration);
  const LaunchPlan plan = TRY_CTX(driver.Plan(resolved), "{}", context);
  TRY_CTX(CheckAssets(resolved), "{}", context);

  std::unique_ptr<Vm> vm(new Vm(std::make_shared<Impl>(loop, std::move(options))));
  UniqueFd control = TRY_CTX(vm->impl_->Launch(plan), "{}", context);
  TRY_CTX(vm->impl_->Connect(driver, std::move(control), deadline), "{}", context);
  return vm;
}

Vm::Vm(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Vm::~Vm() {
  if (impl_->pid() > 0) (void)Stop(Deadline::After(kDestructorStopTime));
  impl_->Close();
}

VmControl& Vm::control() {
  return impl_->control();
}
pid_t Vm::pid() const {
  return impl_->pid();
}
bool Vm::running() const {
  return impl_->running();
}
std::string Vm::LastWords() const {
  return impl_->LastWords();
}
Status Vm::Stop(Deadline deadline) {
  return impl_->Stop(deadline);
}

}  // namespace kata::hypervisor
