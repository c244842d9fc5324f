#include "hypervisor/vm.h"

#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/supervised_process.h"
#include "hypervisor/assets.h"
#include "hypervisor/console_log.h"
#include "hypervisor/console_socket.h"

namespace kata::hypervisor {
namespace {

// A VMM that has closed its control channel is about to end.
constexpr std::chrono::seconds kExitTime{2};
constexpr std::chrono::seconds kDestructorStopTime{5};
// Errors that wait to be told; more of them at a time say nothing new.
constexpr size_t kMaxTroubles = 100;

}  // namespace

// Shared with the callbacks of the supervised process, which refer to it weakly.
class Vm::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
  ~Impl() {
    if (console_socket_) loop_.Post([socket = console_socket_] { socket->Close(); });
  }

  // Executes the plan and begins to watch the process. Returns our end of the control channel.
  Result<UniqueFd> Launch(const LaunchPlan& plan);
  // Control over a VMM that has not ended since; an error carries its last words.
  Status Connect(const Driver& driver, UniqueFd control_socket, Deadline deadline);
  Status Stop(Deadline deadline);

  VmControl& control() { return *control_; }
  pid_t pid() const { return process_ ? process_->pid() : -1; }
  bool running() const { return process_ && process_->running(); }
  std::string LastWords() const {
    std::lock_guard lock(mutex_);
    return LastWordsLocked();
  }

 private:
  void OnConsole(std::string_view bytes);
  void Tell(const LineCallback& callback, const std::vector<std::string>& lines) const;
  // On the control's thread.
  void OnTrouble(std::string line);
  void OnHalted(std::string reason);
  void TellTroubles();
  void OnExit();
  std::string LastWordsLocked() const;

  EventLoop& loop_;
  const Options options_;
  std::unique_ptr<SupervisedProcess> process_;
  std::shared_ptr<ConsoleSocket> console_socket_;  // null: none; fixed once the process has been started
  // Set when the owner has lost interest: no callback begins any more.
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;  // guards what follows
  bool connected_ = false;
  ConsoleLog console_log_;
  std::vector<std::string> troubles_;  // not told yet
  std::string halt_reason_;

  std::unique_ptr<VmControl> control_;  // last: its thread calls this object until it is destroyed
};

Result<UniqueFd> Vm::Impl::Launch(const LaunchPlan& plan) {
  SocketPairEnds control = TRY(MakeSocketPair(SOCK_STREAM));
  SocketPairEnds console = TRY(MakeSocketPair(SOCK_STREAM));

  Command command;
  command.program = plan.program;
  command.args = plan.args;
  command.inherited_fds = plan.inherited_fds;
  if (plan.control_fd >= 0) command.inherited_fds[plan.control_fd] = control.second.get();
  if (plan.console_fd >= 0) command.inherited_fds[plan.console_fd] = console.second.get();
  command.new_session = true;  // a Ctrl-C at our terminal is for us to handle
  // Follows the thread that spawns, not the process (prctl(2)); hence Start's demand on its caller's thread.
  command.parent_death_signal = SIGKILL;
  command.namespace_fds = options_.namespace_fds;
  command.cgroup_procs_fds = options_.cgroup_procs_fds;

  if (options_.console_listener_fd >= 0) {
    console_socket_ = TRY(ConsoleSocket::Create(loop_, TRY(DuplicateFd(options_.console_listener_fd)),
                                                TRY(console.first.Duplicate())));
  }
  SupervisedProcess::Options watch{.name = "vmm"};
  watch.streams.push_back({std::move(console.first), [weak = weak_from_this()](std::string_view bytes) {
                             if (const auto self = weak.lock()) self->OnConsole(bytes);
                           }});
  watch.on_error_line = [weak = weak_from_this()](std::string_view line) {
    if (const auto self = weak.lock()) self->Tell(self->options_.on_vmm_line, {std::string(line)});
  };
  watch.on_exit = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnExit();
  };
  process_ = std::make_unique<SupervisedProcess>(loop_, std::move(watch));
  TRY(process_->Start(std::move(command)));
  return std::move(control.first);
}

Status Vm::Impl::Connect(const Driver& driver, UniqueFd control_socket, Deadline deadline) {
  VmEvents events{.on_trouble = [this](std::string line) { OnTrouble(std::move(line)); },
                  .on_halted = [this](std::string reason) { OnHalted(std::move(reason)); }};
  Result<std::unique_ptr<VmControl>> control =
      driver.Connect(std::move(control_socket), std::move(events), deadline);
  if (control) {
    control_ = std::move(*control);
    std::lock_guard lock(mutex_);
    // From here on its end is reported by OnExit, before by the error of this call.
    connected_ = running();
    if (connected_) return {};
  } else if (control.error().code() == Code::kUnavailable) {
    (void)process_->WaitDrained(Deadline::After(kExitTime));
  }
  const std::string words = LastWords();
  if (!running()) return Error(Code::kInternal, words);
  return words.empty() ? std::move(control).error()
                       : MakeError(control.error().code(), "{}: {}", control.error().message(), words);
}

void Vm::Impl::OnConsole(std::string_view bytes) {
  if (console_socket_) console_socket_->Show(bytes);
  // The callback may ask for LastWords(), so it runs when the lock is free again.
  std::vector<std::string> lines;
  {
    std::lock_guard lock(mutex_);
    console_log_.Append(bytes, [&](std::string_view line) { lines.emplace_back(line); });
  }
  Tell(options_.on_console_line, lines);
}

void Vm::Impl::Tell(const LineCallback& callback, const std::vector<std::string>& lines) const {
  if (!callback) return;
  for (const std::string& line : lines) {
    if (!stopping_) callback(line);
  }
}

void Vm::Impl::OnTrouble(std::string line) {
  {
    std::lock_guard lock(mutex_);
    if (troubles_.size() >= kMaxTroubles) return;
    troubles_.push_back(std::move(line));
    if (troubles_.size() > 1) return;
  }
  loop_.Post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->TellTroubles();
  });
}

void Vm::Impl::TellTroubles() {
  std::vector<std::string> lines;
  {
    std::lock_guard lock(mutex_);
    lines.swap(troubles_);
  }
  Tell(options_.on_vmm_line, lines);
}

void Vm::Impl::OnHalted(std::string reason) {
  {
    std::lock_guard lock(mutex_);
    if (halt_reason_.empty()) halt_reason_ = std::move(reason);
  }
  // Its end is noticed as any other.
  (void)process_->Signal(SIGKILL);
}

void Vm::Impl::OnExit() {
  std::vector<std::string> lines;
  std::string reason;
  bool report;
  {
    std::lock_guard lock(mutex_);
    console_log_.Finish([&](std::string_view line) { lines.emplace_back(line); });
    reason = LastWordsLocked();
    report = connected_ && !stopping_;
  }
  Tell(options_.on_console_line, lines);
  if (console_socket_) console_socket_->Close();
  if (report && options_.on_exit) options_.on_exit(reason);
}

Status Vm::Impl::Stop(Deadline deadline) {
  stopping_ = true;
  if (!running()) return {};
  // A VMM that hangs or never offered control is killed all the same.
  if (control_ && control_->Quit(deadline) && process_->WaitExit(deadline)) return {};
  return process_->Kill();
}

std::string Vm::Impl::LastWordsLocked() const {
  const std::optional<ExitStatus> exit_status = process_ ? process_->exit_status() : std::nullopt;
  std::string words = !halt_reason_.empty() ? halt_reason_ : exit_status ? exit_status->Describe() : "";
  const auto add = [&words](std::string_view label, const std::string& text) {
    if (text.empty()) return;
    if (!words.empty()) words += ": ";
    words += label;
    words += text;
  };
  if (process_) add("", process_->ErrorSummary());
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
  (void)Stop(Deadline::After(kDestructorStopTime));
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
