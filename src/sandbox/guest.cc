// Guest: boot, failure and end of the virtual machine.
#include "sandbox/guest.h"

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/utf8.h"
#include "sandbox/time_limits.h"

namespace kata::sandbox {

Guest::Guest(EventLoop& loop, WorkerPool& workers, Options options)
    : loop_(loop), workers_(workers), options_(std::move(options)) {}

Guest::~Guest() = default;

// --- boot: worker thread ---

Status Guest::Boot(BootRequest request) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kNew)
      return Error(Code::kFailedPrecondition, "the virtual machine was started before");
    state_ = State::kBooting;
  }
  Result<std::shared_ptr<AgentClient>> agent = BootSteps(std::move(request));
  if (agent) {
    const std::lock_guard lock(mutex_);
    if (!cancelled_ && exit_reason_.empty()) {
      agent_ = *agent;
      state_ = State::kUp;
    }
  }
  if (agent && this->agent()) {
    loop_.Post([self = shared_from_this(), agent = *agent] {
      agent->OnClosed([weak = self->weak_from_this()] {
        if (const auto guest = weak.lock()) guest->OnAgentClosed();
      });
      self->WaitForOomEvent(agent);
      self->WatchAgent(agent);
    });
    if (const std::shared_ptr<GuestNetwork> network = this->network()) network->Follow(machine(), *agent);
    return {};
  }
  const Error cause = ExplainBootFailure(agent ? Error(Code::kUnavailable, "the virtual machine ended")
                                               : std::move(agent).error());
  std::shared_ptr<Machine> machine;
  std::shared_ptr<GuestNetwork> network;
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kDown;
    machine = std::exchange(machine_, nullptr);
    network = std::exchange(network_, nullptr);
  }
  End(machine.get(), network.get());
  return cause;
}

Result<std::shared_ptr<AgentClient>> Guest::BootSteps(BootRequest request) {
  const Deadline agent_deadline = Deadline::After(options_.agent_timeout);
  request.machine.on_exit = [weak = weak_from_this()](const std::string& reason) {
    if (const auto self = weak.lock()) self->OnMachineExit(reason);
  };
  const std::shared_ptr<GuestNetwork> network = TRY_CTX(ConnectNetwork(request.machine), "connect network");
  if (network) request.machine.network_devices = network->Devices();
  const std::shared_ptr<Machine> machine =
      TRY_CTX(StartMachine(std::move(request.machine), agent_deadline), "start virtual machine");
  std::shared_ptr<AgentClient> agent = TRY(ConnectAgent(*machine, agent_deadline));
  const Deadline deadline = Deadline::After(kGuestSetUpTime);
  const grpc::GuestDetailsResponse details =
      TRY_CTX(agent->GetGuestDetails(deadline), "ask the agent what it can do");
  for (grpc::Storage& storage : machine->SandboxStorages())
    *request.sandbox.add_storages() = std::move(storage);
  TRY_CTX(agent->CreateSandbox(request.sandbox, deadline), "create sandbox in the guest");
  if (network) TRY(network->Configure(*agent, deadline));
  const std::lock_guard lock(mutex_);
  supports_seccomp_ = details.agent_details().supports_seccomp();
  return agent;
}

Result<std::shared_ptr<GuestNetwork>> Guest::ConnectNetwork(const MachineOptions& options) {
  const network::Model model = TRY(network::ParseModel(options.config->runtime.internetworking_model));
  if (model == network::Model::kNone) return std::shared_ptr<GuestNetwork>();
  const auto network_namespace =
      TRY(linux::NamespaceFd::FromFd(TRY(options.network_namespace.Duplicate()), CLONE_NEWNET));
  std::shared_ptr<GuestNetwork> network =
      TRY(GuestNetwork::Create(loop_, network_namespace,
                               {.model = model,
                                .queues = options.size.vcpus,
                                .vhost = !options.config->hypervisor.disable_vhost_net}));
  const std::lock_guard lock(mutex_);
  network_ = network;
  return network;
}

Result<std::shared_ptr<Machine>> Guest::StartMachine(MachineOptions options, Deadline deadline) {
  TRY(FailIfCancelled());
  std::shared_ptr<Machine> machine = TRY(options_.factory(loop_, std::move(options)));
  {
    // From here on CancelBoot reaches the machine.
    const std::lock_guard lock(mutex_);
    machine_ = machine;
  }
  TRY(FailIfCancelled());
  TRY(machine->Start(deadline));
  return machine;
}

Result<std::shared_ptr<AgentClient>> Guest::ConnectAgent(Machine& machine, Deadline deadline) {
  const auto fail = [&](Error error) {
    // Where nobody has cancelled the boot, it was the end of the machine that ended the wait.
    if (error.code() == Code::kCancelled) error = Error(Code::kUnavailable, "the virtual machine ended");
    if (error.code() != Code::kDeadlineExceeded)
      return std::move(error).Wrap("wait for the agent in the guest");
    return MakeError(Code::kDeadlineExceeded, "wait for the agent in the guest: no answer within {} s",
                     std::chrono::duration_cast<std::chrono::seconds>(options_.agent_timeout).count());
  };
  Result<UniqueFd> stream = machine.ConnectAgent(deadline);
  if (!stream) return fail(std::move(stream).error());
  auto agent = std::make_shared<AgentClient>(loop_, std::move(*stream));
  Status serving = agent->Check(deadline);
  if (!serving) return fail(std::move(serving).error());
  return agent;
}

Status Guest::FailIfCancelled() const {
  const std::lock_guard lock(mutex_);
  if (cancelled_) return Error(Code::kCancelled, cancel_reason_);
  return {};
}

Error Guest::ExplainBootFailure(Error error) const {
  const std::shared_ptr<Machine> machine = this->machine();
  // The agent's stream may end an instant before the machine is known to have ended.
  const Deadline deadline = Deadline::After(kExplanationTime);
  while (machine && error.code() == Code::kUnavailable && machine->running() && !deadline.Passed()) {
    if (!FailIfCancelled()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (Status status = FailIfCancelled(); !status) return std::move(status).error();
  // A machine that failed to start has said why in the error itself.
  const bool waited_for_guest = error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded;
  std::string words = machine && waited_for_guest ? machine->LastWords() : "";
  {
    const std::lock_guard lock(mutex_);
    if (waited_for_guest && !exit_reason_.empty()) words = exit_reason_;
  }
  if (words.empty() || error.message().contains(words)) return error;
  return MakeError(error.code(), "{}: {}", error.message(), words);
}

// --- size: worker thread ---

Result<MachineSize> Guest::Resize(Machine& machine, MachineSize size, std::chrono::seconds time) {
  const std::shared_ptr<AgentClient> agent = this->agent();
  if (!agent) return Error(Code::kUnavailable, "the virtual machine is not running");
  const MachineSize before = machine.size();
  const MachineSize after = TRY(machine.Resize(size, Deadline::After(time)));
  const uint32_t plugged = after.vcpus > before.vcpus ? after.vcpus - before.vcpus : 0;
  const bool memory_changed = after.memory_mib != before.memory_mib;
  if (plugged > 0 || memory_changed) TRY(agent->OnlineCpusAndMemory(plugged, memory_changed));
  if (after != before) {
    log::Info("the virtual machine was resized", {{"vcpus", after.vcpus}, {"memory_mib", after.memory_mib}});
  }
  return after;
}

Status Guest::Grow(MachineSize size) {
  const std::lock_guard lock(resize_mutex_);
  const std::shared_ptr<Machine> machine = this->machine();
  if (!machine) return Error(Code::kUnavailable, "the virtual machine is not running");
  const MachineSize now = machine->size();
  const MachineSize target{std::max(now.vcpus, size.vcpus), std::max(now.memory_mib, size.memory_mib)};
  const MachineSize after = TRY_CTX(Resize(*machine, target, kGrowTime), "grow virtual machine");
  if (after.vcpus >= target.vcpus && after.memory_mib >= target.memory_mib) return {};
  log::Warning("the virtual machine cannot be as large as its containers' limits",
               {{"vcpus", after.vcpus},
                {"wanted_vcpus", target.vcpus},
                {"memory_mib", after.memory_mib},
                {"wanted_memory_mib", target.memory_mib}});
  return {};
}

std::optional<MachineSize> Guest::Shrink(MachineSize size) {
  const std::lock_guard lock(resize_mutex_);
  const std::shared_ptr<Machine> machine = this->machine();
  if (!machine || !agent()) return std::nullopt;
  const MachineSize now = machine->size();
  const MachineSize target{std::min(now.vcpus, size.vcpus), std::min(now.memory_mib, size.memory_mib)};
  if (target == now) return std::nullopt;
  const Result<MachineSize> after = Resize(*machine, target, kShrinkTime);
  if (after) return *after;
  log::Debug("the virtual machine stays as large as it is", {{"error", after.error().message()}});
  return std::nullopt;
}

// --- any thread ---

void Guest::CancelBoot(const std::string& reason) {
  std::shared_ptr<Machine> machine;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || (state_ != State::kNew && state_ != State::kBooting)) return;
    cancelled_ = true;
    cancel_reason_ = reason;
    machine = machine_;
  }
  if (!machine) return;
  // Not on the caller's thread, which may be the loop's.
  workers_.Post([machine] { (void)machine->Stop(Deadline::After(kMachineStopTime)); });
}

std::shared_ptr<AgentClient> Guest::agent() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::kUp ? agent_ : nullptr;
}

std::shared_ptr<Machine> Guest::machine() const {
  const std::lock_guard lock(mutex_);
  return machine_;
}

std::shared_ptr<GuestNetwork> Guest::network() const {
  const std::lock_guard lock(mutex_);
  return network_;
}

void Guest::SettleNetwork(std::move_only_function<void(Status)> done) {
  const std::shared_ptr<GuestNetwork> network = this->network();
  if (!network) {
    loop_.Post([done = std::move(done)]() mutable { done({}); });
    return;
  }
  // Whichever comes first takes it.
  auto once = std::make_shared<std::move_only_function<void(Status)>>(std::move(done));
  auto timer = std::make_shared<asio::steady_timer>(loop_.context(), options_.patience.settle);
  timer->async_wait([once, timer](const std::error_code& error) {
    if (error || !*once) return;
    log::Warning("a process starts although the guest may not have all of its container's network yet");
    std::exchange(*once, nullptr)({});
  });
  network->Settle([once, timer](Status connected) {
    timer->cancel();
    if (*once) std::exchange(*once, nullptr)(std::move(connected));
  });
}

bool Guest::supports_seccomp() const {
  const std::lock_guard lock(mutex_);
  return supports_seccomp_;
}

// --- end: loop thread ---

void Guest::OnMachineExit(const std::string& machines_reason) {
  std::string reason = machines_reason.empty() ? "no reason is known" : machines_reason;
  if (options_.explain_end) reason = options_.explain_end(std::move(reason));
  {
    const std::lock_guard lock(mutex_);
    if (!exit_reason_.empty()) return;
    exit_reason_ = reason;
    // A part of it may still run (the VMM without its file server); Boot waits for what will not come.
    if (state_ == State::kBooting && machine_) {
      workers_.Post([machine = machine_] { (void)machine->Stop(Deadline::After(kMachineStopTime)); });
    }
  }
  GoDown(reason);
}

void Guest::OnAgentClosed() {
  if (!agent()) return;
  // Usually the machine has ended, and that knows the reason better.
  auto timer = std::make_shared<asio::steady_timer>(loop_.context(), kExplanationTime);
  timer->async_wait([weak = weak_from_this(), timer](const std::error_code& error) {
    const auto self = weak.lock();
    if (error || !self || !self->agent()) return;
    const std::string words = self->machine()->LastWords();
    self->GoDown(words.empty() ? "the agent in the guest closed its connection"
                               : "the agent in the guest closed its connection: " + words);
  });
}

void Guest::WatchAgent(const std::shared_ptr<AgentClient>& agent) {
  auto timer = std::make_shared<asio::steady_timer>(loop_.context(), options_.patience.check_interval);
  timer->async_wait(
      [weak = weak_from_this(), weak_agent = std::weak_ptr(agent), timer](const std::error_code& error) {
        const auto self = weak.lock();
        const auto agent = weak_agent.lock();
        if (!error && self && agent) self->CheckAgent(agent, /*last_chance=*/false);
      });
}

void Guest::CheckAgent(const std::shared_ptr<AgentClient>& agent, bool last_chance) {
  if (this->agent() != agent) return;  // it is being ended
  agent->Check(options_.patience.check, [weak = weak_from_this(), weak_agent = std::weak_ptr(agent),
                                         last_chance](const Status& status) {
    const auto self = weak.lock();
    const auto agent = weak_agent.lock();
    if (!self || !agent) return;
    if (status || status.error().code() != Code::kDeadlineExceeded) {
      self->WatchAgent(agent);
    } else if (self->options_.is_held && self->options_.is_held()) {
      self->CheckAgent(agent, /*last_chance=*/false);
    } else if (!last_chance) {
      // Once is not enough: the host itself, or this process, may have stood still.
      log::Warning("the agent in the guest does not answer");
      self->CheckAgent(agent, /*last_chance=*/true);
    } else {
      self->GiveUp("the agent in the guest does not answer any more");
    }
  });
}

void Guest::GiveUp(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kUp || !exit_reason_.empty()) return;
    exit_reason_ = reason;
  }
  GoDown(reason);
}

void Guest::GoDown(const std::string& reason) {
  std::shared_ptr<AgentClient> agent;
  {
    const std::lock_guard lock(mutex_);
    // While booting and stopping somebody waits who will notice.
    if (state_ != State::kUp) return;
    state_ = State::kStopping;
    agent = agent_;
  }
  // Calls under way fail here and now; their callbacks come back to this object.
  agent->Close();
  // First, so that who is told below finds the containers stopped.
  options_.on_down(reason);
  for (std::function<void(Error)>& callback : std::exchange(waiting_for_reason_, {})) {
    callback(MakeError(Code::kUnavailable, "the virtual machine ended: {}", reason));
  }
  StopMachine([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->FinishStop();
  });
}

void Guest::Stop(std::function<void()> done) {
  std::shared_ptr<AgentClient> agent;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kUp && state_ != State::kStopping) {
      loop_.Post(std::move(done));
      return;
    }
    stop_callbacks_.push_back(std::move(done));
    if (state_ == State::kStopping) return;
    state_ = State::kStopping;
    agent = agent_;
  }
  agent->DestroySandbox(kDestroySandboxTime, [self = shared_from_this(), agent](const Status& status) {
    if (!status) log::Debug("the agent did not end its sandbox", {{"error", status.error().message()}});
    agent->Close();
    self->StopMachine([self] { self->FinishStop(); });
  });
}

void Guest::StopMachine(std::function<void()> done) {
  workers_.Post([this, machine = machine(), network = network(), done = std::move(done),
                 self = shared_from_this()]() mutable {
    End(machine.get(), network.get());
    loop_.Post(std::move(done));
  });
}

// The network outlasts the machine, whose end ends a change of it that is under way.
void Guest::End(Machine* machine, GuestNetwork* network) {
  if (machine != nullptr) {
    const Status stopped = machine->Stop(Deadline::After(kMachineStopTime));
    if (!stopped) log::LogError("a virtual machine did not end", {{"error", stopped.error().message()}});
  }
  if (network != nullptr) network->Close();
}

void Guest::FinishStop() {
  // Destroyed without the lock: callbacks of failing calls come back to this object.
  std::shared_ptr<Machine> machine;
  std::shared_ptr<AgentClient> agent;
  std::shared_ptr<GuestNetwork> network;
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kDown;
    machine = std::exchange(machine_, nullptr);
    agent = std::exchange(agent_, nullptr);
    network = std::exchange(network_, nullptr);
  }
  for (std::function<void(Error)>& callback : std::exchange(waiting_for_reason_, {})) {
    callback(Error(Code::kUnavailable, "the virtual machine was stopped"));
  }
  for (std::function<void()>& callback : std::exchange(stop_callbacks_, {})) callback();
}

void Guest::Explain(Error error, std::function<void(Error)> callback) {
  if (error.code() != Code::kUnavailable) {
    callback(std::move(error));
    return;
  }
  std::string reason;
  bool reason_will_come = false;
  {
    const std::lock_guard lock(mutex_);
    reason = exit_reason_;
    reason_will_come = state_ == State::kUp || state_ == State::kStopping;
  }
  if (!reason.empty()) {
    callback(MakeError(Code::kUnavailable, "the virtual machine ended: {}", reason));
  } else if (reason_will_come) {
    WaitForReason(std::move(error), std::move(callback));
  } else {
    callback(Error(Code::kUnavailable, "the virtual machine is not running"));
  }
}

void Guest::WaitForReason(Error error, std::function<void(Error)> callback) {
  // Twice as long as an end of the stream may stay unexplained: after that the guest is well, and
  // "unavailable" was the agent's own word.
  auto timer = std::make_shared<asio::steady_timer>(loop_.context(), 2 * kExplanationTime);
  auto once = std::make_shared<std::function<void(Error)>>(std::move(callback));
  timer->async_wait([timer, once, error = std::move(error)](const std::error_code&) {
    if (const auto report = std::exchange(*once, nullptr)) report(error);
  });
  waiting_for_reason_.push_back([timer, once](Error reason) {
    const auto report = std::exchange(*once, nullptr);
    timer->cancel();
    if (report) report(std::move(reason));
  });
}

void Guest::WaitForOomEvent(const std::shared_ptr<AgentClient>& agent) {
  agent->GetOomEvent(
      [weak_agent = std::weak_ptr(agent), weak = weak_from_this()](const Result<std::string>& container_id) {
        const auto self = weak.lock();
        if (!container_id || !self) return;
        constexpr size_t kMaxIdInLog = 128;
        log::Warning("a process was killed for lack of memory",
                     {{"container", ToPlainLine(*container_id, kMaxIdInLog)}});
        if (self->options_.on_oom) self->options_.on_oom(*container_id);
        // The agent keeps further events; a guest shall not be able to flood the log with them.
        auto timer = std::make_shared<asio::steady_timer>(self->loop_.context(), std::chrono::seconds(1));
        timer->async_wait([weak_agent, weak, timer](const std::error_code& error) {
          const auto self = weak.lock();
          const auto agent = weak_agent.lock();
          if (!error && self && agent) self->WaitForOomEvent(agent);
        });
      });
}

}  // namespace kata::sandbox
