// Container: the state machine created, running, paused, stopped, and additional processes.
#include "sandbox/container.h"

#include <sys/eventfd.h>

#include <asio/steady_timer.hpp>
#include <csignal>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/process.h"
#include "cgroup/oom_report.h"
#include "linux/knob_changes.h"
#include "linux/unix_socket.h"
#include "oci/hook_time_limit.h"
#include "protocol/ids.h"
#include "protocol/oci_convert.h"
#include "sandbox/guest_spec.h"
#include "sandbox/hooks.h"
#include "sandbox/removal.h"

namespace kata::sandbox {
namespace {

constexpr int kKilledExitCode = 128 + SIGKILL;
constexpr std::chrono::seconds kOomReportTime{5};

Error NotRunning() {
  return Error(Code::kFailedPrecondition, "container not running");
}

Error NoProcess(const std::string& exec_id) {
  return MakeError(Code::kNotFound, "process '{}' does not exist", exec_id);
}

void LogFailure(const char* what, const std::string& id, const Error& error) {
  log::LogError(what, {{"container", id}, {"error", error.message()}});
}

}  // namespace

std::string_view StatusName(ContainerStatus status) {
  switch (status) {
    case ContainerStatus::kCreating:
      return "creating";
    case ContainerStatus::kCreated:
      return "created";
    case ContainerStatus::kRunning:
      return "running";
    case ContainerStatus::kPaused:
      return "paused";
    case ContainerStatus::kStopped:
      return "stopped";
  }
  std::unreachable();
}

Container::Container(Context context, StateDirectory directory, ContainerState state,
                     AttachRequest attachment, Handlers handlers)
    : context_(std::move(context)),
      directory_(std::move(directory)),
      state_(std::move(state)),
      handlers_(std::move(handlers)),
      cgroup_(state_.cgroups),
      hooks_cancel_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      events_(context_.loop),
      kill_timer_(context_.loop.context()) {
  init_ = std::make_unique<Process>(
      context_.loop, context_.watcher, context_.guest, state_.id, "", std::move(attachment),
      Process::Handlers{.on_shim_gone = [this] { KillWholeContainer(); },
                        .on_exit = [this](const ProcessExit& exit) { OnInitExit(exit); }});
}

Status Container::Begin() {
  const unsigned long long start_time =
      TRY_CTX(ProcessStartTime(init_->shim_pid()), "look at kata-shim {}", init_->shim_pid());
  state_.shim = {init_->shim_pid(), start_time};
  TRY(Persist());
  return init_->Start();
}

bool Container::IsQuiet() const {
  if (status_ != ContainerStatus::kStopped) return false;
  for (const auto& [id, exec] : execs_) {
    if (exec.starting || exec.process->state() == Process::State::kRunning) return false;
  }
  return true;
}

Process* Container::FindProcess(const std::string& exec_id) {
  if (exec_id.empty()) return init_.get();
  const auto it = execs_.find(exec_id);
  return it == execs_.end() ? nullptr : it->second.process.get();
}

std::vector<pid_t> Container::ShimPids() const {
  std::vector<pid_t> pids;
  if (status_ != ContainerStatus::kStopped) pids.push_back(init_->shim_pid());
  for (const auto& [id, exec] : execs_) {
    if (exec.process->state() == Process::State::kRunning) pids.push_back(exec.process->shim_pid());
  }
  return pids;
}

// --- state ---

Status Container::Persist() {
  state_.status = StatusName(status_);
  return directory_.WriteState(state_);
}

void Container::SetStatus(ContainerStatus status) {
  status_ = status;
  log::Debug("container status", {{"container", id()}, {"status", StatusName(status)}});
  if (const Status written = Persist(); !written) LogFailure("state is not written", id(), written.error());
  if (status == ContainerStatus::kPaused) return;
  for (const std::function<void()>& callback : std::exchange(when_not_paused_, {})) callback();
}

Status Container::OnCreated(const oci::Spec& spec, const std::string& rootfs, ProcessId vmm) {
  state_.oci_version = spec.oci_version;
  state_.rootfs = rootfs;
  state_.annotations = spec.annotations;
  state_.vmm = vmm;
  start_container_ = spec.hooks.start_container;
  poststart_ = spec.hooks.poststart;
  if (spec.linux && spec.linux->resources) resources_ = *spec.linux->resources;
  status_ = ContainerStatus::kCreated;
  TRY(Persist());
  init_->OnCreated();
  return {};
}

void Container::AwaitReady(UniqueFd monitor_socket) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (!agent) return;
  events_.SetAwaitsReady();
  agent->AwaitReady(id(), [weak = weak_from_this(),
                           monitor = std::move(monitor_socket)](const Result<std::string>& line) {
    const auto self = weak.lock();
    if (!self) return;
    if (!line)
      log::Debug("the container is not ready",
                 {{"container", self->id()}, {"error", line.error().message()}});
    if (line && monitor) {
      const Status sent =
          linux::SendUnixMessage(monitor.get(), *line, {}, Deadline::After(std::chrono::seconds(0)));
      if (!sent)
        LogFailure("the engine's monitor is not told that the container is ready", self->id(), sent.error());
    }
    self->events_.SetReady(line ? *line : "");
  });
}

void Container::OnInitExit(const ProcessExit& exit) {
  // The event may wait behind those of other containers.
  if (exit.oom_killed && !oom_kill_in_guest_) NoteOomKill();
  state_.exit_code = exit.code;
  state_.error = exit.error;
  SetStatus(ContainerStatus::kStopped);
  events_.SetStopped();
  EndRemainingExecs();
  // Whoever reads the exit code shall find the memory events of the control group on the host: engines and
  // their monitors learn of an OOM kill by them. That takes the machine's end, as it is in the same group.
  const bool oom_kill = oom_kill_in_guest_ && !cgroup_.empty();
  if (oom_kill) init_->HoldExit();
  handlers_.on_process_exit();
  if (oom_kill && id() != state_.sandbox_id) ReportOomKill();
}

void Container::OnOomKill() {
  // Its end has said so, and was faster.
  if (init_->state() == Process::State::kStopped && init_->exit().oom_killed) return;
  NoteOomKill();
}

void Container::NoteOomKill() {
  oom_kill_in_guest_ = true;
  events_.AddOomKill();
}

void Container::OnGuestStopped() {
  if (init_->state() == Process::State::kStopped && oom_kill_in_guest_) ReportOomKill();
}

void Container::ReportOomKill() {
  oom_kill_in_guest_ = false;
  std::vector<pid_t> bystanders{init_->shim_pid()};
  for (const auto& [id, exec] : execs_) bystanders.push_back(exec.process->shim_pid());
  context_.workers.Post([self = shared_from_this(), bystanders = std::move(bystanders)]() mutable {
    const Status reported = cgroup::ReportOomKill(self->cgroup_, bystanders, Deadline::After(kOomReportTime));
    if (!reported) {
      log::Warning("the engine is not told of an OOM kill",
                   {{"container", self->id()}, {"error", reported.error().message()}});
    }
    EventLoop& loop = self->context_.loop;
    loop.Post([self = std::move(self)] { self->init_->ReleaseExit(); });
  });
}

// They ended with init, the owner of their pid namespace. The agent says so within moments; a container whose
// processes share another pid namespace must not wait for them for ever.
void Container::EndRemainingExecs() {
  if (execs_.empty()) return;
  auto timer = std::make_shared<asio::steady_timer>(context_.loop.context(), kExecEndTime);
  timer->async_wait([weak = weak_from_this(), timer](const std::error_code& error) {
    const auto self = weak.lock();
    if (error || !self) return;
    for (auto& [id, exec] : self->execs_) exec.process->End(kKilledExitCode, "");
  });
}

void Container::OnGuestDown(int code, const std::string& error) {
  const auto self = shared_from_this();
  // Whatever has ended it: it was to be killed, and so it is.
  if (killing_ != Killing::kNo) code = kKilledExitCode;
  for (auto& [id, exec] : execs_) exec.process->End(code, error);
  init_->End(code, error);
}

// --- calls ---

template <typename T>
void Container::ReplyError(Error error, Reply<T> reply) {
  // std::function wants to be copied; a reply cannot be.
  auto shared = std::make_shared<Reply<T>>(std::move(reply));
  context_.guest->Explain(std::move(error), [shared](Error explained) { (*shared)(std::move(explained)); });
}

AgentClient::StatusCallback Container::Then(Reply<void> reply, std::function<Status()> on_success) {
  return [self = shared_from_this(), reply = std::move(reply),
          on_success = std::move(on_success)](Status status) mutable {
    if (!status) {
      self->ReplyError(std::move(status).error(), std::move(reply));
    } else {
      reply(on_success());
    }
  };
}

void Container::Start(Reply<pid_t> reply) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (status_ == ContainerStatus::kStopped) {
    reply(Error(Code::kFailedPrecondition, "cannot start a container that has stopped"));
  } else if (status_ == ContainerStatus::kCreating) {
    reply(Error(Code::kFailedPrecondition, "cannot start a container that is still being created"));
  } else if (status_ != ContainerStatus::kCreated || starting_) {
    reply(Error(Code::kFailedPrecondition, "cannot start an already running container"));
  } else if (!agent) {
    reply(NotRunning());
  } else {
    starting_ = true;
    // What an engine has connected since the creation (Docker from 28 on) is there when the process begins.
    context_.guest->SettleNetwork(
        [self = shared_from_this(), agent, reply = std::move(reply)](Status connected) mutable {
          if (connected) {
            self->StartInGuest(*agent, std::move(reply));
          } else {
            self->starting_ = false;
            self->ReplyError(std::move(connected).error().Wrap("connect network"), std::move(reply));
          }
        });
  }
}

void Container::StartInGuest(AgentClient& agent, Reply<pid_t> reply) {
  agent.StartContainer(
      id(), oci::TimeLimit(start_container_),
      [self = shared_from_this(), reply = std::move(reply),
       step = log::Step("start container in the guest", {{"container", id()}})](Status status) mutable {
        step.End();
        self->starting_ = false;
        if (status) {
          self->OnStarted(std::move(reply));
        } else if (status.error().code() == Code::kDeadlineExceeded) {
          // It may run all the same, and whoever could not start it does not come back to end it.
          self->KillThenReply(std::move(status).error(), std::move(reply));
        } else {
          self->ReplyError(std::move(status).error(), std::move(reply));
        }
      });
}

void Container::OnStarted(Reply<pid_t> reply) {
  // A very short process may have been reported as ended already.
  if (status_ == ContainerStatus::kCreated) SetStatus(ContainerStatus::kRunning);
  init_->OnRunning();
  if (poststart_.empty()) {
    reply(init_->shim_pid());
    return;
  }
  HookRun run{.point = "poststart",
              .state = HookState(state_, "running"),
              .working_directory = state_.bundle,
              .namespace_fds = {},
              .cancel_fd = hooks_cancel_.get()};
  if (context_.host_mount_namespace >= 0) run.namespace_fds.push_back(context_.host_mount_namespace);
  context_.workers.Post(
      [self = shared_from_this(), run = std::move(run), reply = std::move(reply)]() mutable {
        Status status = RunHooks(self->poststart_, run);
        EventLoop& loop = self->context_.loop;
        loop.Post([self = std::move(self), status = std::move(status), reply = std::move(reply)]() mutable {
          self->OnPoststartDone(status, std::move(reply));
        });
      });
}

// "If any poststart hook fails, the runtime MUST generate an error, stop the container, and continue the
// lifecycle at step 12", its destruction: that is for the caller.
void Container::OnPoststartDone(const Status& status, Reply<pid_t> reply) {
  if (status) {
    reply(init_->shim_pid());
  } else {
    KillThenReply(status.error(), std::move(reply));
  }
}

void Container::KillThenReply(Error error, Reply<pid_t> reply) {
  KillWholeContainer();
  auto shared = std::make_shared<Reply<pid_t>>(std::move(reply));
  init_->Wait([shared, error = std::move(error)](const ProcessExit&) { (*shared)(error); });
}

void Container::CancelHooks() {
  eventfd_write(hooks_cancel_.get(), 1);  // cannot fail: the counter is far from its end
}

void Container::Kill(const std::string& exec_id, int signal, bool all, Reply<void> reply) {
  if (signal < 1 || signal > SIGRTMAX) {
    reply(MakeError(Code::kInvalidArgument, "invalid signal {}", signal));
    return;
  }
  Process* process = FindProcess(exec_id);
  if (!process) {
    reply(NoProcess(exec_id));
    return;
  }
  if (!exec_id.empty()) {
    process->Signal(signal, Then(std::move(reply), [] { return Status(); }));
    return;
  }
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (status_ == ContainerStatus::kStopped || !agent) {
    // All of none have got it.
    reply(all ? Status() : Status(NotRunning()));
    return;
  }
  if (signal == SIGKILL) OnKillSent();
  auto answered = [self = shared_from_this(), signal, reply = std::move(reply)](Status status) mutable {
    if (signal == SIGKILL) self->OnKillAnswer(status);
    // It has ended while the signal was on its way.
    if (!status && status.error().code() == Code::kNotFound) status = NotRunning();
    // With the machine: that is an end, too.
    const bool killed =
        signal == SIGKILL && !self->overdue_kill_.empty() && self->status_ == ContainerStatus::kStopped;
    if (status || killed) {
      reply({});
    } else {
      self->ReplyError(std::move(status).error(), std::move(reply));
    }
  };
  if (all && signal != SIGKILL) {
    agent->SignalAll(id(), signal, std::move(answered));
  } else {
    // SIGKILL to init is the end of the whole container, and only as such it also reaches a frozen one and
    // one whose init shares its pid namespace.
    agent->SignalProcess(id(), signal == SIGKILL ? "" : id(), signal, std::move(answered));
  }
}

void Container::OnKillSent() {
  if (killing_ != Killing::kNo) return;
  AwaitDeath(Killing::kSent, context_.patience.kill, "the agent in the guest does not answer to SIGKILL");
}

void Container::OnKillAnswer(const Status& answer) {
  const Code code = answer ? Code::kOk : answer.error().code();
  if (code == Code::kDeadlineExceeded || code == Code::kUnavailable) return;  // it is none
  if (killing_ == Killing::kAnswered) return;
  overdue_kill_.clear();
  AwaitDeath(Killing::kAnswered, context_.patience.dying, "its processes do not end after SIGKILL");
}

void Container::AwaitDeath(Killing stage, std::chrono::milliseconds time, std::string reason) {
  killing_ = stage;
  kill_timer_.expires_after(time);
  kill_timer_.async_wait(
      [weak = weak_from_this(), stage, reason = std::move(reason)](const std::error_code& error) {
        const auto self = weak.lock();
        if (error || !self || self->killing_ != stage || self->init_->HasEnded()) return;
        self->overdue_kill_ = reason;
        log::Warning("a container does not let itself be killed",
                     {{"container", self->id()}, {"reason", reason}});
        self->handlers_.on_kill_overdue();
      });
}

void Container::KillWholeContainer() {
  if (status_ == ContainerStatus::kCreating) {
    handlers_.on_abandoned();
    return;
  }
  Kill("", SIGKILL, /*all=*/true, [self = shared_from_this()](const Status& status) {
    if (!status) LogFailure("a container was not killed", self->id(), status.error());
  });
}

Status Container::CheckRunning(std::string_view action, bool ignore_paused) const {
  const bool paused = status_ == ContainerStatus::kPaused;
  if (paused && !ignore_paused) {
    return MakeError(Code::kFailedPrecondition, "cannot {} a paused container", action);
  }
  if (status_ != ContainerStatus::kRunning && status_ != ContainerStatus::kCreated && !paused) {
    return NotRunning();
  }
  if (!context_.guest->agent()) return NotRunning();
  return {};
}

void Container::Pause(Reply<void> reply) {
  if (Status status = CheckRunning("pause"); !status) {
    reply(std::move(status));
    return;
  }
  context_.guest->agent()->PauseContainer(id(), Then(std::move(reply), [this]() -> Status {
                                            if (status_ == ContainerStatus::kStopped) return NotRunning();
                                            SetStatus(ContainerStatus::kPaused);
                                            return {};
                                          }));
}

void Container::Resume(Reply<void> reply) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (status_ != ContainerStatus::kPaused || !agent) {
    reply(Error(Code::kFailedPrecondition, "container not paused"));
    return;
  }
  agent->ResumeContainer(id(), Then(std::move(reply), [this]() -> Status {
                           if (status_ != ContainerStatus::kPaused) return {};
                           SetStatus(init_->state() == Process::State::kCreated ? ContainerStatus::kCreated
                                                                                : ContainerStatus::kRunning);
                           return {};
                         }));
}

struct Container::UpdateJob {
  ResourcesUpdate plan;
  std::shared_ptr<void> size_kept;  // until the guest has the new limits, or the old ones hold again
  linux::KnobChanges host;          // of the control groups there, but for memory
};

void Container::Update(const oci::Resources& resources, Reply<void> reply) {
  updates_.push_back({resources, std::move(reply)});
  if (updates_.size() == 1) BeginUpdate();
}

void Container::BeginUpdate() {
  if (status_ == ContainerStatus::kStopped || status_ == ContainerStatus::kCreating ||
      !context_.guest->agent()) {
    FinishUpdate(NotRunning());
    return;
  }
  auto job = std::make_shared<UpdateJob>();
  job->plan = PlanUpdate(resources_, updates_.front().resources);
  context_.workers.Post([self = shared_from_this(), job = std::move(job)]() mutable {
    Status prepared = self->PrepareHost(*job);
    EventLoop& loop = self->context_.loop;
    loop.Post([self = std::move(self), job = std::move(job), prepared = std::move(prepared)]() mutable {
      if (prepared) {
        self->UpdateGuest(std::move(job));
      } else {
        self->TakeBackUpdate(std::move(job), std::move(prepared).error());
      }
    });
  });
}

// The host's limit of memory comes before the machine grows: it must hold the larger one, and never kills one
// that is yet to shrink.
Status Container::PrepareHost(UpdateJob& job) {
  job.size_kept = context_.sizer->KeepFromShrinking();
  context_.sizer->Change(id(), job.plan.result);
  oci::Resources others = job.plan.changes;
  others.memory.reset();
  const cgroup::Limits limits = cgroup::PlanLimits(cgroup_.unified(), others, {});
  TRY_CTX(cgroup_.Apply(limits.at_creation, job.host), "control group on the host");
  TRY_CTX(cgroup_.Apply(limits.when_created, job.host), "control group on the host");
  TRY(context_.sizer->LimitOnHost(cgroup_, job.plan.changes.memory));
  return context_.sizer->Grow();
}

void Container::UpdateGuest(std::shared_ptr<UpdateJob> job) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (!agent) {
    TakeBackUpdate(std::move(job), NotRunning());
    return;
  }
  grpc::UpdateContainerRequest request;
  request.set_container_id(id());
  *request.mutable_resources() = protocol::ToProto(MakeGuestResources(job->plan.changes));
  agent->UpdateContainer(request, [self = shared_from_this(), job = std::move(job)](Status status) mutable {
    if (!status) {
      self->TakeBackUpdate(std::move(job), std::move(status).error());
      return;
    }
    job->host.Keep();
    self->resources_ = std::move(job->plan.result);
    job->size_kept.reset();
    self->FinishUpdate({});
    self->context_.workers.Post([self]() mutable { ShrinkHost(std::move(self)); });
  });
}

void Container::TakeBackUpdate(std::shared_ptr<UpdateJob> job, Error error) {
  context_.sizer->Change(id(), resources_);
  job->size_kept.reset();
  context_.workers.Post(
      [self = shared_from_this(), job = std::move(job), error = std::move(error)]() mutable {
        job->host.Undo();
        const Status raised = self->context_.sizer->LimitOnHost(self->cgroup_, job->plan.memory_before);
        if (!raised) LogFailure("the host's limit of memory was not put back", self->id(), raised.error());
        self->context_.loop.Post(
            [self, error = std::move(error)]() mutable { self->FinishUpdate(std::move(error)); });
        ShrinkHost(std::move(self));
      });
}

void Container::FinishUpdate(Status status) {
  Reply<void> reply = std::move(updates_.front().reply);
  updates_.pop_front();
  if (status) {
    reply({});
  } else {
    ReplyError(std::move(status).error(), std::move(reply));
  }
  if (!updates_.empty()) BeginUpdate();
}

// The host's limit of memory is not below what the machine has; when that has become less, so does the limit.
void Container::ShrinkHost(std::shared_ptr<Container> self) {
  self->context_.sizer->Shrink();
  self->context_.sizer->LowerOnHost(self->id(), self->cgroup_);
  EventLoop& loop = self->context_.loop;
  loop.Post([self = std::move(self)] {});  // the last reference must not end here
}

void Container::Stats(Reply<grpc::StatsContainerResponse> reply) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (status_ == ContainerStatus::kStopped || status_ == ContainerStatus::kCreating || !agent) {
    reply(NotRunning());
    return;
  }
  agent->StatsContainer(id(), [self = shared_from_this(),
                               reply = std::move(reply)](Result<grpc::StatsContainerResponse> stats) mutable {
    if (stats) {
      reply(std::move(stats));
    } else {
      self->ReplyError(std::move(stats).error(), std::move(reply));
    }
  });
}

void Container::Resize(const std::string& exec_id, uint32_t rows, uint32_t columns, Reply<void> reply) {
  Process* process = FindProcess(exec_id);
  if (!process) {
    reply(NoProcess(exec_id));
    return;
  }
  process->Resize(rows, columns, Then(std::move(reply), [] { return Status(); }));
}

Status Container::CloseInput(const std::string& exec_id) {
  Process* process = FindProcess(exec_id);
  if (!process) return NoProcess(exec_id);
  process->CloseInput();
  return {};
}

// --- additional processes ---

Status Container::AddExec(const std::string& exec_id, ExecDescription description, AttachRequest attachment) {
  TRY(protocol::CheckExecId(exec_id));
  TRY(CheckRunning("exec in", description.ignore_paused));
  if (exec_id == id() || execs_.contains(exec_id)) {
    return MakeError(Code::kAlreadyExists, "process '{}' already exists", exec_id);
  }
  if (description.process.terminal != attachment.terminal) {
    return Error(Code::kInvalidArgument, "the process and its stdio do not agree on having a terminal");
  }
  Exec exec;
  exec.description = std::move(description);
  exec.process = std::make_unique<Process>(
      context_.loop, context_.watcher, context_.guest, id(), exec_id, std::move(attachment),
      Process::Handlers{.on_shim_gone = [this, exec_id] { AbandonExec(exec_id); },
                        .on_exit = [this](const ProcessExit&) { handlers_.on_process_exit(); }});
  TRY(exec.process->Start());
  execs_.emplace(exec_id, std::move(exec));
  return {};
}

void Container::StartExec(const std::string& exec_id, Reply<pid_t> reply) {
  const auto it = execs_.find(exec_id);
  if (it == execs_.end()) {
    reply(NoProcess(exec_id));
    return;
  }
  if (Status status = CheckRunning("exec in", it->second.description.ignore_paused); !status) {
    reply(std::move(status).error());
    return;
  }
  if (it->second.starting || it->second.process->state() != Process::State::kCreating) {
    reply(MakeError(Code::kFailedPrecondition, "process '{}' was started before", exec_id));
    return;
  }
  if (status_ == ContainerStatus::kPaused) {
    auto shared = std::make_shared<Reply<pid_t>>(std::move(reply));
    when_not_paused_.push_back([this, exec_id, shared] {
      StartExec(exec_id, [shared](Result<pid_t> pid) { (*shared)(std::move(pid)); });
    });
    return;
  }
  it->second.starting = true;
  grpc::ExecProcessRequest request;
  request.set_container_id(id());
  request.set_exec_id(exec_id);
  *request.mutable_process() = protocol::ToProto(MakeGuestProcess(it->second.description.process));
  request.set_cgroup(it->second.description.cgroup);
  request.set_null_stdin(it->second.process->stdio_traits().null_stdin);
  request.set_plain_newlines(it->second.process->stdio_traits().plain_newlines);
  context_.guest->agent()->ExecProcess(
      request, [self = shared_from_this(), exec_id, reply = std::move(reply),
                step = log::Step("start process in the guest", {{"container", id()}, {"process", exec_id}})](
                   Status status) mutable {
        step.End();
        const auto exec = self->execs_.find(exec_id);
        if (exec == self->execs_.end()) {
          reply(NoProcess(exec_id));
          return;
        }
        exec->second.starting = false;
        if (exec->second.process->state() == Process::State::kStopped) {
          if (status) self->KillInGuest(exec_id);
          (void)self->DeleteExec(exec_id);
          reply(MakeError(Code::kCancelled, "process '{}' was given up while it started", exec_id));
          self->handlers_.on_process_exit();
          return;
        }
        if (!status) {
          // It may have been started after all.
          if (status.error().code() == Code::kDeadlineExceeded) self->KillInGuest(exec_id);
          self->ReplyError(std::move(status).error(), std::move(reply));
          self->handlers_.on_process_exit();
          return;
        }
        exec->second.process->OnCreated();
        exec->second.process->OnRunning();
        reply(exec->second.process->shim_pid());
      });
}

Result<ProcessExit> Container::DeleteExec(const std::string& exec_id) {
  const auto it = execs_.find(exec_id);
  if (it == execs_.end()) return NoProcess(exec_id);
  const Process& process = *it->second.process;
  if (it->second.starting || process.state() == Process::State::kCreated ||
      process.state() == Process::State::kRunning) {
    return MakeError(Code::kFailedPrecondition, "cannot delete process '{}' that is running", exec_id);
  }
  ProcessExit exit = process.state() == Process::State::kStopped ? process.exit() : ProcessExit{};
  execs_.erase(it);
  return exit;
}

void Container::ForgetExecAtEnd(const std::string& exec_id) {
  Process* process = FindProcess(exec_id);
  if (!process) return;
  process->Wait([weak = weak_from_this(), exec_id](const ProcessExit&) {
    const auto self = weak.lock();
    if (!self) return;
    // Not inside the process's own turn.
    self->context_.loop.Post([self, exec_id] { (void)self->DeleteExec(exec_id); });
  });
}

void Container::KillInGuest(const std::string& exec_id) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (!agent) return;
  agent->SignalProcess(id(), exec_id, SIGKILL, [](const Status&) {});
  // The agent keeps it until somebody has asked for its exit code.
  agent->WaitProcess(id(), exec_id, [](const Result<AgentClient::Exit>&) {});
}

void Container::AbandonExec(const std::string& exec_id) {
  Process* process = FindProcess(exec_id);
  if (!process) return;
  process->Signal(SIGKILL, [](const Status&) {});
  ForgetExecAtEnd(exec_id);
  if (process->state() == Process::State::kCreating) process->End(kKilledExitCode, "");
}

}  // namespace kata::sandbox
