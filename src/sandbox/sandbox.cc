// Sandbox: containers from the attachment of their client to their removal, and the end of everything.
#include "sandbox/sandbox.h"

#include <unistd.h>

#include <csignal>

#include "base/log.h"
#include "base/process.h"
#include "sandbox/removal.h"
#include "sandbox/time_limits.h"

namespace kata::sandbox {
namespace {

constexpr std::chrono::seconds kRemoveContainerTime{10};
constexpr int kLostExitCode = 255;
constexpr int kKilledExitCode = 128 + SIGKILL;

Error DoesNotExist() {
  return Error(Code::kNotFound, "container does not exist");
}

}  // namespace

Sandbox::Sandbox(EventLoop& loop, WorkerPool& workers, FdWatcher& watcher, Options options)
    : loop_(loop), workers_(workers), watcher_(watcher), options_(std::move(options)) {
  guest_ = std::make_shared<Guest>(
      loop_, workers_,
      Guest::Options{.factory = options_.machine_factory,
                     .agent_timeout = options_.config.agent.dial_timeout,
                     .patience = options_.patience,
                     .on_down = [this](const std::string& reason) { OnGuestDown(reason); },
                     .is_held = [this] { return IsMachineHeld(); },
                     .explain_end = [this](std::string reason) { return ExplainEnd(std::move(reason)); },
                     .on_oom = [this](const std::string& container_id) { OnOom(container_id); }});
  sizer_ = std::make_shared<MachineSizer>(options_.config, guest_);
}

// --- stdio of processes to come ---

Status Sandbox::Attach(AttachRequest request, uint64_t connection_id) {
  if (shutting_down_) return Error(Code::kUnavailable, "the sandbox is being shut down");
  for (const auto& [connection, other] : attachments_) {
    if (other.container_id == request.id && other.exec_id == request.exec_id) {
      return Error(Code::kAlreadyExists, "another client is attached for this process");
    }
  }
  std::optional<StateDirectory> directory;
  if (request.exec_id.empty()) {
    directory = request.id == id() ? options_.directory
                                   : TRY(StateDirectory::Open(options_.directory.root(), request.id));
  }
  ever_attached_ = true;
  Attachment& attachment = attachments_[connection_id];
  attachment.container_id = request.id;
  attachment.exec_id = request.exec_id;
  attachment.request = std::move(request);
  attachment.directory = std::move(directory);
  return {};
}

Result<Sandbox::Attachment*> Sandbox::FindAttachment(const std::string& container_id,
                                                     const std::string& exec_id) {
  for (auto& [connection, attachment] : attachments_) {
    if (attachment.container_id == container_id && attachment.exec_id == exec_id &&
        attachment.request.channel) {
      return &attachment;
    }
  }
  return Error(Code::kFailedPrecondition, "no kata-shim is attached for this process");
}

void Sandbox::OnAttachClosed(uint64_t connection_id, bool committed) {
  const auto node = attachments_.extract(connection_id);
  if (node.empty() || shutting_down_) return;
  const Attachment& attachment = node.mapped();
  if (!attachment.exec_id.empty()) {
    OnExecClientGone(attachment.container_id, attachment.exec_id, committed);
  } else if (committed) {
    return;
  } else if (attachment.container_id == id()) {
    Abandon("the client that created the container is gone");
  } else {
    Discard(attachment.container_id, *attachment.directory);
  }
}

void Sandbox::Discard(const std::string& container_id, const StateDirectory& directory) {
  auto remove_traces = [self = shared_from_this(), directory] { self->RemoveTracesLater(directory, [] {}); };
  const Result<std::shared_ptr<Container>> found = FindContainer(container_id);
  if (!found) {  // or it is none yet
    remove_traces();
    return;
  }
  const std::shared_ptr<Container>& container = *found;
  when_erased_[container].push_back(std::move(remove_traces));
  Kill(container_id, "", SIGKILL, /*all=*/true, [](const Status&) {});
  if (container->status() == ContainerStatus::kCreating) return;  // a failed creation removes it
  container->FindProcess("")->Wait([self = shared_from_this(), container](const ProcessExit&) {
    self->loop_.Post([self, container] { self->Remove(container, [] {}); });
  });
}

// Its client was the only one that knew its id: nobody will ask for the process by it any more.
void Sandbox::OnExecClientGone(const std::string& container_id, const std::string& exec_id, bool committed) {
  const Result<std::shared_ptr<Container>> container = FindContainer(container_id);
  if (!container) return;
  if (committed) {
    (*container)->ForgetExecAtEnd(exec_id);
  } else {
    (*container)->AbandonExec(exec_id);
  }
}

void Sandbox::OnIdle() {
  if (!ever_attached_ && !shutting_down_) Abandon("no client has come");
}

// --- create ---

Result<std::shared_ptr<Container>> Sandbox::NewContainer(const std::string& container_id,
                                                         const std::string& bundle) {
  if (shutting_down_) return Error(Code::kUnavailable, "the sandbox is being shut down");
  if (containers_.contains(container_id)) {
    return Error(Code::kAlreadyExists, "container with given ID already exists");
  }
  if (container_id == id() ? booted_ : !guest_->agent()) {
    return MakeError(Code::kFailedPrecondition, "sandbox '{}' does not run", id());
  }
  Attachment& attachment = *TRY(FindAttachment(container_id, ""));
  const StateDirectory& directory = *attachment.directory;
  // What the client has recorded about itself (owner, time) stays.
  ContainerState state;
  if (Result<ContainerState> recorded = directory.ReadState()) {
    state = std::move(*recorded);
  } else if (recorded.error().code() != Code::kNotFound) {
    return std::move(recorded).error();
  }
  state.id = container_id;
  state.sandbox_id = id();
  state.bundle = bundle;
  if (state.created.empty()) state.created = log::FormatTime(std::chrono::system_clock::now());
  if (state.owner.empty()) state.owner = std::to_string(geteuid());
  state.server = {getpid(), TRY(ProcessStartTime(getpid()))};

  auto container = std::make_shared<Container>(
      Container::Context{.loop = loop_,
                         .workers = workers_,
                         .watcher = watcher_,
                         .guest = guest_,
                         .sizer = sizer_,
                         .host_mount_namespace = options_.host_mount_namespace.get(),
                         .patience = options_.patience},
      directory, std::move(state), std::move(attachment.request),
      Container::Handlers{.on_abandoned =
                              [this, container_id] {
                                if (const auto found = FindContainer(container_id)) {
                                  CancelCreate(**found, "kata-shim was killed");
                                }
                              },
                          .on_process_exit = [this] { EndUnusedGuest(); },
                          .on_kill_overdue = [this] { EndUnusedGuest(); }});
  TRY(container->Begin());
  return container;
}

void Sandbox::Create(const std::string& container_id, const std::string& bundle, bool notify,
                     Reply<pid_t> reply) {
  Result<std::shared_ptr<Container>> created = NewContainer(container_id, bundle);
  if (!created) {
    reply(std::move(created).error());
    return;
  }
  const std::shared_ptr<Container> container = *created;
  containers_[container_id] = container;
  const Process& init = *container->FindProcess("");
  CreateJob job{.config = options_.config,
                .guest = guest_,
                .sizer = sizer_,
                .sandbox_id = id(),
                .directory = options_.directory.path(),
                .container_id = container_id,
                .bundle = bundle,
                .terminal = init.terminal(),
                .notify = notify,
                .stdio = init.stdio_traits(),
                .boot = container_id == id(),
                .container_directory = container->directory(),
                .state = container->state(),
                .cgroup = container->cgroup(),
                .hooks_cancel_fd = container->hooks_cancel_fd(),
                .host_mount_namespace = options_.host_mount_namespace.get(),
                .shims = {}};
  for (const auto& [other_id, other] : containers_) {
    if (other->status() != ContainerStatus::kStopped)
      job.shims[other->FindProcess("")->shim_pid()] = other_id;
  }
  if (job.boot) {
    booted_ = true;
    sizer_->SetHome(container_id, container->cgroup());
  }
  // A copy that can be moved on: the last reference must not end on the worker, as the container belongs to
  // the loop's thread.
  workers_.Post([this, self = shared_from_this(), job = std::move(job), container = container,
                 reply = std::move(reply)]() mutable {
    Result<CreateResult> result = job.Run();
    loop_.Post([this, self = std::move(self), container = std::move(container), result = std::move(result),
                reply = std::move(reply)]() mutable {
      OnCreateDone(container, std::move(result), std::move(reply));
    });
  });
}

void Sandbox::OnCreateDone(const std::shared_ptr<Container>& container, Result<CreateResult> result,
                           Reply<pid_t> reply) {
  // Whatever becomes of it: they go with it.
  if (result) container->TakeDisks(std::move(result->disks));
  const auto cancelled = cancelled_creates_.find(container->id());
  if (cancelled != cancelled_creates_.end()) {
    FailCreate(container, Error(Code::kCancelled, cancelled->second), std::move(reply));
  } else if (!result) {
    FailCreate(container, std::move(result).error(), std::move(reply));
  } else if (!guest_->agent()) {
    // It ended when the guest had already answered.
    FailCreate(container, Error(Code::kUnavailable, "the virtual machine is not running"), std::move(reply));
  } else if (Status recorded = container->OnCreated(result->spec, result->rootfs, result->vmm); !recorded) {
    FailCreate(container, std::move(recorded).error(), std::move(reply));
  } else {
    if (result->readiness.listens) container->AwaitReady(std::move(result->readiness.monitor_socket));
    reply(container->FindProcess("")->shim_pid());
  }
}

void Sandbox::FailCreate(const std::shared_ptr<Container>& container, Error error, Reply<pid_t> reply) {
  auto shared_reply = std::make_shared<Reply<pid_t>>(std::move(reply));
  guest_->Explain(std::move(error), [self = shared_from_this(), container, shared_reply](Error explained) {
    self->Remove(container, [self, container, shared_reply, explained = std::move(explained)]() mutable {
      // "Unavailable" would mean to the client that it has lost the server.
      const bool unavailable = explained.code() == Code::kUnavailable;
      (*shared_reply)(unavailable ? std::move(explained).WithCode(Code::kInternal) : std::move(explained));
    });
  });
}

void Sandbox::CancelCreate(Container& container, const std::string& reason) {
  if (container.status() != ContainerStatus::kCreating) return;
  cancelled_creates_.emplace(container.id(), reason);
  container.CancelHooks();
  if (container.id() != id()) return;
  // Whatever the creation waits for ends with the machine.
  guest_->CancelBoot(reason);
  guest_->Stop([] {});
}

// --- the life of containers ---

Result<std::shared_ptr<Container>> Sandbox::FindContainer(const std::string& container_id) const {
  const auto it = containers_.find(container_id);
  if (it == containers_.end()) return DoesNotExist();
  return it->second;
}

Status Sandbox::AddExec(const std::string& container_id, const std::string& exec_id,
                        ExecDescription description) {
  const std::shared_ptr<Container> container = TRY(FindContainer(container_id));
  if (exec_id.empty()) return Error(Code::kInvalidArgument, "exec id is empty");
  return container->AddExec(exec_id, std::move(description),
                            std::move(TRY(FindAttachment(container_id, exec_id))->request));
}

void Sandbox::Kill(const std::string& container_id, const std::string& exec_id, int signal, bool all,
                   Reply<void> reply) {
  const Result<std::shared_ptr<Container>> container = FindContainer(container_id);
  if (!container) {
    reply(Error(container.error()));
  } else if ((*container)->status() != ContainerStatus::kCreating) {
    (*container)->Kill(exec_id, signal, all, std::move(reply));
  } else if (signal == SIGKILL || signal == SIGTERM) {
    CancelCreate(**container, "it was killed");
    reply({});
  } else {
    reply(Error(Code::kFailedPrecondition, "container is still being created"));
  }
}

// SIGKILL is an end that cannot be refused. It takes the machine along when nothing else is wanted of that;
// what still is in a pod has the time that a guest has by itself.
void Sandbox::EndUnusedGuest() {
  std::string overdue_kill;
  for (const auto& [container_id, container] : containers_) {
    if (container->IsQuiet()) continue;
    if (container->overdue_kill().empty()) return;
    overdue_kill = container->overdue_kill();
  }
  if (!overdue_kill.empty()) {
    guest_->GiveUp(overdue_kill);
    return;
  }
  // Nothing runs any more: the memory goes back at once, not only when somebody deletes the container.
  guest_->Stop([self = shared_from_this()] {
    const auto containers = self->containers_;
    for (const auto& [container_id, container] : containers) container->OnGuestStopped();
  });
}

bool Sandbox::IsMachineHeld() const {
  const auto owner = FindContainer(id());
  if (owner && (*owner)->cgroup().IsFrozen()) return true;
  const std::shared_ptr<Machine> machine = guest_->machine();
  const char state = machine ? ProcessState(machine->vmm_pid()).value_or('?') : '?';
  return state == 'T' || state == 't';
}

void Sandbox::OnOom(const std::string& container_id) {
  if (const auto container = FindContainer(container_id)) (*container)->OnOomKill();
}

std::string Sandbox::ExplainEnd(std::string reason) {
  const auto owner = FindContainer(id());
  if (!owner || (*owner)->cgroup().OomKills() == 0) return reason;
  (*owner)->events().AddOomKill();
  return reason + ": the host killed a process of it for lack of memory (limit of its control group)";
}

void Sandbox::OnGuestDown(const std::string& reason) {
  log::LogError("the virtual machine ended", {{"reason", reason}});
  // Ends that are reported below change the map only later, but a copy is safe against any handler.
  const auto containers = containers_;
  for (const auto& [container_id, container] : containers) {
    // A creation under way fails by itself.
    if (container->status() == ContainerStatus::kCreating) continue;
    container->OnGuestDown(kLostExitCode, "the virtual machine ended: " + reason);
  }
}

// --- delete ---

void Sandbox::Delete(const std::string& container_id, const std::string& exec_id, Reply<DeleteResult> reply) {
  const Result<std::shared_ptr<Container>> found = FindContainer(container_id);
  if (!found) {
    reply(Error(found.error()));
    return;
  }
  const std::shared_ptr<Container>& container = *found;
  const Process* process = container->FindProcess(exec_id);
  const pid_t pid = process ? process->shim_pid() : 0;
  if (!exec_id.empty()) {
    const Result<ProcessExit> exit = container->DeleteExec(exec_id);
    reply(exit ? Result<DeleteResult>(DeleteResult{pid, *exit}) : Result<DeleteResult>(Error(exit.error())));
    return;
  }
  if (container->status() == ContainerStatus::kCreated) {
    auto shared_reply = std::make_shared<Reply<DeleteResult>>(std::move(reply));
    container->Kill("", SIGKILL, /*all=*/true,
                    [self = shared_from_this(), container, shared_reply](Status status) {
                      // "Not running": its end was faster.
                      if (!status && status.error().code() != Code::kFailedPrecondition) {
                        (*shared_reply)(std::move(status).error());
                        return;
                      }
                      container->FindProcess("")->Wait([self, container, shared_reply](const ProcessExit&) {
                        self->loop_.Post([self, container, shared_reply] {
                          self->Delete(container->id(), "", [shared_reply](Result<DeleteResult> result) {
                            (*shared_reply)(std::move(result));
                          });
                        });
                      });
                    });
    return;
  }
  if (cancelled_creates_.contains(container_id)) {
    auto shared_reply = std::make_shared<Reply<DeleteResult>>(std::move(reply));
    when_erased_[container].push_back([pid, shared_reply] {
      (*shared_reply)(DeleteResult{
          pid, {.code = kKilledExitCode, .time = std::chrono::system_clock::now(), .error = {}}});
    });
    return;
  }
  if (container->status() != ContainerStatus::kStopped && !IsAlive(container->state().shim)) {
    // Who has killed kata-shim takes it for dead. It goes when the guest lets go of it; nobody is to wait.
    Discard(container_id, container->directory());
    reply(
        DeleteResult{pid, {.code = kKilledExitCode, .time = std::chrono::system_clock::now(), .error = {}}});
    return;
  }
  if (container->status() != ContainerStatus::kStopped) {
    reply(MakeError(Code::kFailedPrecondition, "cannot delete container '{}' that is not stopped: {}",
                    container_id, StatusName(container->status())));
    return;
  }
  auto shared_reply = std::make_shared<Reply<DeleteResult>>(std::move(reply));
  Remove(container, [container, pid, shared_reply] {
    (*shared_reply)(DeleteResult{pid, container->FindProcess("")->exit()});
  });
}

void Sandbox::Remove(const std::shared_ptr<Container>& container, std::function<void()> done) {
  // The steps go by id, which a later container may have once they are done.
  if (!container->BeginRemoval()) {
    if (Knows(container)) {
      when_erased_[container].push_back(std::move(done));
    } else {
      done();
    }
    return;
  }
  // `container` as a copy that can be moved on: of a reference to const it would stay here, too.
  auto erase = [self = shared_from_this(), container = container, done = std::move(done)] {
    self->Erase(container);
    done();
  };
  const std::shared_ptr<AgentClient> agent = guest_->agent();
  const std::shared_ptr<Machine> machine = guest_->machine();
  if (container->id() == id() || !agent || !machine) {
    guest_->Stop(std::move(erase));
    return;
  }
  agent->RemoveContainer(
      container->id(), kRemoveContainerTime,
      [self = shared_from_this(), machine, container,
       erase = std::move(erase)](const Status& removed) mutable {
        if (!removed)
          log::Debug("the agent did not remove a container", {{"error", removed.error().message()}});
        // By id: the last reference must not end here, as the container belongs to the loop's thread.
        self->workers_.Post([self, machine, id = container->id(), disks = container->disks(),
                             erase = std::move(erase)]() mutable {
          DetachDisks(*machine, disks);
          const Status unshared = machine->UnshareContainer(id);
          if (!unshared)
            log::LogError("a container's files stay shared", {{"error", unshared.error().message()}});
          // Neither must the sandbox's. Nobody waits for the machine to become smaller.
          const std::shared_ptr<MachineSizer> sizer = self->sizer_;
          EventLoop& loop = self->loop_;
          sizer->Forget(id);  // before there can be a later one with its id
          loop.Post([self = std::move(self), erase = std::move(erase)]() mutable { erase(); });
          sizer->Shrink();
        });
      });
}

void Sandbox::Erase(const std::shared_ptr<Container>& container) {
  containers_.erase(container->id());
  cancelled_creates_.erase(container->id());
  if (auto callbacks = when_erased_.extract(container)) {
    for (const std::function<void()>& callback : callbacks.mapped()) callback();
  }
  // The others may have ended while this one was being created.
  EndUnusedGuest();
  if (IsCreating()) return;
  for (const std::function<void()>& callback : std::exchange(when_idle_, {})) callback();
}

bool Sandbox::Knows(const std::shared_ptr<Container>& container) const {
  const auto found = containers_.find(container->id());
  return found != containers_.end() && found->second == container;
}

bool Sandbox::IsCreating() const {
  for (const auto& [container_id, container] : containers_) {
    if (container->status() == ContainerStatus::kCreating) return true;
  }
  return false;
}

// --- the end ---

void Sandbox::Shutdown(bool now, Reply<void> reply) {
  if (!now && !containers_.empty()) {
    reply({});
    return;
  }
  auto shared_reply = std::make_shared<Reply<void>>(std::move(reply));
  ShutdownNow("the sandbox is being shut down", [self = shared_from_this(), shared_reply] {
    (*shared_reply)({});
    self->options_.on_finished();
  });
}

void Sandbox::ShutdownNow(const std::string& reason, std::function<void()> done) {
  shutting_down_ = true;
  const auto containers = containers_;
  for (const auto& [container_id, container] : containers) {
    if (container->status() == ContainerStatus::kCreating) {
      CancelCreate(*container, reason);
    } else {
      container->CancelHooks();
      container->OnGuestDown(kKilledExitCode, "");
    }
  }
  guest_->Stop([self = shared_from_this(), done = std::move(done)]() mutable {
    if (self->IsCreating()) {
      self->when_idle_.push_back(std::move(done));
    } else {
      done();
    }
  });
}

void Sandbox::Abandon(const std::string& reason) {
  log::Info("the sandbox is removed", {{"reason", reason}});
  ShutdownNow(reason, [self = shared_from_this()] {
    self->RemoveTracesLater(self->options_.directory, [self] { self->options_.on_finished(); });
  });
}

void Sandbox::RemoveTracesLater(const StateDirectory& directory, std::function<void()> done) {
  // Hooks may take their time.
  workers_.Post([self = shared_from_this(), directory, done = std::move(done)]() mutable {
    const Status removed = RemoveTraces(directory, self->options_.host_mount_namespace.get());
    if (!removed) log::LogError("the state directory stays", {{"error", removed.error().message()}});
    EventLoop& loop = self->loop_;
    loop.Post([self = std::move(self), done = std::move(done)] { done(); });
  });
}

}  // namespace kata::sandbox
