// Container: the state machine created, running, paused, stopped, and additional processes.
#include "sandbox/container.h"

#include <asio/steady_timer.hpp>
#include <csignal>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/process.h"
#include "protocol/ids.h"
#include "protocol/oci_convert.h"
#include "sandbox/guest_spec.h"

namespace kata::sandbox {
namespace {

constexpr int kKilledExitCode = 128 + SIGKILL;

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
      handlers_(std::move(handlers)) {
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
  if (const Status written = Persist(); !written) LogFailure("state is not written", id(), written.error());
}

Status Container::OnCreated(const oci::Spec& spec, const std::string& rootfs, ProcessId vmm) {
  state_.oci_version = spec.oci_version;
  state_.rootfs = rootfs;
  state_.annotations = spec.annotations;
  state_.vmm = vmm;
  status_ = ContainerStatus::kCreated;
  TRY(Persist());
  init_->OnCreated();
  return {};
}

void Container::OnInitExit(const ProcessExit& exit) {
  state_.exit_code = exit.code;
  state_.error = exit.error;
  SetStatus(ContainerStatus::kStopped);
  EndRemainingExecs();
  handlers_.on_process_exit();
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
    agent->StartContainer(
        id(), Then(
                  [self = shared_from_this(), reply = std::move(reply)](const Status& status) mutable {
                    self->starting_ = false;
                    if (status) {
                      reply(self->init_->shim_pid());
                    } else {
                      reply(Error(status.error()));
                    }
                  },
                  [this]() -> Status {
                    // A very short process may have been reported as ended already.
                    if (status_ == ContainerStatus::kCreated) SetStatus(ContainerStatus::kRunning);
                    init_->OnRunning();
                    return {};
                  }));
  }
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
  // SIGKILL to init is the end of the whole container, and only as such it also reaches a frozen one and one
  // whose init shares its pid namespace.
  const bool whole = all || signal == SIGKILL;
  agent->SignalProcess(id(), whole ? "" : id(), signal,
                       [self = shared_from_this(), reply = std::move(reply)](Status status) mutable {
                         // It has ended while the signal was on its way.
                         if (!status && status.error().code() == Code::kNotFound) status = NotRunning();
                         if (status) {
                           reply({});
                         } else {
                           self->ReplyError(std::move(status).error(), std::move(reply));
                         }
                       });
}

void Container::KillWholeContainer() {
  if (status_ == ContainerStatus::kCreating) {
    handlers_.on_abandoned();
    return;
  }
  Kill("", SIGKILL, /*all=*/true, [self = shared_from_this()](const Status& status) {
    if (!status)
      LogFailure("a container that has lost its kata-shim was not killed", self->id(), status.error());
  });
}

Status Container::CheckRunning(std::string_view action) const {
  if (status_ == ContainerStatus::kPaused) {
    return MakeError(Code::kFailedPrecondition, "cannot {} a paused container", action);
  }
  if (status_ != ContainerStatus::kRunning && status_ != ContainerStatus::kCreated) return NotRunning();
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

void Container::Update(const oci::Resources& resources, Reply<void> reply) {
  const std::shared_ptr<AgentClient> agent = context_.guest->agent();
  if (status_ == ContainerStatus::kStopped || status_ == ContainerStatus::kCreating || !agent) {
    reply(NotRunning());
    return;
  }
  grpc::UpdateContainerRequest request;
  request.set_container_id(id());
  *request.mutable_resources() = protocol::ToProto(MakeGuestResources(resources));
  agent->UpdateContainer(request, Then(std::move(reply), [] { return Status(); }));
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

Status Container::AddExec(const std::string& exec_id, const oci::Process& process, AttachRequest attachment) {
  TRY(protocol::CheckExecId(exec_id));
  TRY(CheckRunning("exec in"));
  if (exec_id == id() || execs_.contains(exec_id)) {
    return MakeError(Code::kAlreadyExists, "process '{}' already exists", exec_id);
  }
  if (process.terminal != attachment.terminal) {
    return Error(Code::kInvalidArgument, "the process and its stdio do not agree on having a terminal");
  }
  Exec exec;
  exec.spec = process;
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
  if (Status status = CheckRunning("exec in"); !status) {
    reply(std::move(status).error());
    return;
  }
  if (it->second.starting || it->second.process->state() != Process::State::kCreating) {
    reply(MakeError(Code::kFailedPrecondition, "process '{}' was started before", exec_id));
    return;
  }
  it->second.starting = true;
  grpc::ExecProcessRequest request;
  request.set_container_id(id());
  request.set_exec_id(exec_id);
  *request.mutable_process() = protocol::ToProto(MakeGuestProcess(it->second.spec));
  context_.guest->agent()->ExecProcess(
      request, [self = shared_from_this(), exec_id, reply = std::move(reply)](Status status) mutable {
        const auto exec = self->execs_.find(exec_id);
        if (exec == self->execs_.end()) {
          reply(NoProcess(exec_id));
          return;
        }
        exec->second.starting = false;
        if (!status) {
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
  const ProcessExit exit = process.state() == Process::State::kStopped ? process.exit() : ProcessExit{};
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

void Container::AbandonExec(const std::string& exec_id) {
  Process* process = FindProcess(exec_id);
  if (!process) return;
  process->Signal(SIGKILL, [](const Status&) {});
  ForgetExecAtEnd(exec_id);
  if (process->state() == Process::State::kCreating) process->End(kKilledExitCode, "");
}

}  // namespace kata::sandbox
