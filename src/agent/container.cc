#include "agent/container.h"

#include <csignal>
#include <optional>
#include <set>
#include <utility>

#include "agent/dropped_signal.h"
#include "agent/stats.h"
#include "base/file.h"
#include "base/log.h"
#include "linux/cgroup2.h"
#include "oci/json.h"
#include "protocol/oci_convert.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kFreezeTimeout{10};
constexpr std::chrono::seconds kJailTimeout{30};
// How long the output of an exec that was waited for stays readable.
constexpr std::chrono::seconds kForgetTime{60};

// By which other containers of the sandbox refer to it: its id, and its name where Kubernetes' runtimes gave
// it one.
std::set<std::string> NamesOf(const ContainerParts& parts) {
  std::set<std::string> names{parts.id};
  for (const char* key : {"io.kubernetes.cri.container-name", "io.kubernetes.container.name"}) {
    const auto found = parts.hook_state.annotations.find(key);
    if (found != parts.hook_state.annotations.end()) names.insert(found->second);
  }
  return names;
}

struct ExecPlan {
  oci::Process process;
  jail::UserNames user_names;
  std::string cgroup;
  bool null_stdin = false;
  bool plain_newlines = false;
};

// The request's own alone: of init's description the jail takes capabilities and umask where it is silent,
// and nothing else.
Result<ExecPlan> PlanExec(const grpc::ExecProcessRequest& request) {
  if (request.stdin_port() != 0 || request.stdout_port() != 0 || request.stderr_port() != 0) {
    return Error(Code::kUnimplemented, "stdio over connections of its own is not supported");
  }
  if (!request.has_process()) return Error(Code::kInvalidArgument, "the request has no process");
  oci::Process process = TRY(protocol::FromProto(request.process()));
  if (!process.oom_score_adj) process.oom_score_adj = 0;
  TRY(oci::Validate(process));
  ExecPlan plan{.process = std::move(process),
                .user_names = {},
                .cgroup = request.cgroup(),
                .null_stdin = request.null_stdin(),
                .plain_newlines = request.plain_newlines()};
  if (request.has_string_user()) plan.user_names = ToUserNames(request.string_user());
  return plan;
}

Result<StartedExec> StartExec(jail::Container& jail, const ExecPlan& plan, const Settings& settings) {
  const oci::Process& process = plan.process;
  StartedExec exec;
  if (!process.terminal) exec.stdio = TRY(MakePipes(settings.pipe_size_bytes, plan.null_stdin));
  jail::ExecOptions options;
  options.stdio = exec.stdio.ForJail();
  options.stdio.plain_newlines = plan.plain_newlines;
  options.cgroup = plan.cgroup;
  options.user_names = plan.user_names;
  options.enable_seccomp = jail::SeccompSupported();
  options.self_executable = settings.self_executable;
  options.deadline = Deadline::After(kJailTimeout);
  jail::StartedProcess started = TRY(jail.Exec(process, options));
  exec.stdio.CloseChildEnds();
  exec.child = std::move(started.process);
  if (process.terminal) exec.stdio = TRY(TerminalEnds(std::move(started.terminal)));
  return exec;
}

// Failing poststart hooks do not stop what runs already (OCI runtime specification).
Status FinishStartAndRunHooks(ContainerParts& parts) {
  TRY(parts.jail->FinishStart());
  parts.hook_state.status = "running";
  if (Status status = RunHooks(parts.hooks->poststart, parts.hook_state); !status) {
    log::Warning("poststart", {{"container", parts.id}, {"error", status.error().message()}});
  }
  return {};
}

}  // namespace

Container::Container(Context context, ContainerParts parts)
    : context_(context),
      id_(parts.id),
      cgroup_directory_(parts.jail->cgroup_directory()),
      termination_log_(parts.termination_log),
      names_(NamesOf(parts)),
      parts_(std::make_shared<ContainerParts>(std::move(parts))),
      jobs_(context.jobs) {}

Result<std::shared_ptr<Container>> Container::Adopt(Context context, NewContainer created) {
  std::shared_ptr<Container> container(new Container(context, std::move(created.parts)));
  Result<std::shared_ptr<Process>> init =
      Process::Adopt(context.loop, context.reaper, fmt::format("init of container '{}'", container->id_),
                     std::move(created.init), std::move(created.stdio));
  if (!init) {
    container->TearDown();
    return std::move(init).error();
  }
  container->init_ = std::move(*init);
  container->init_->OnExit([weak = std::weak_ptr(container)] {
    if (const std::shared_ptr<Container> self = weak.lock()) self->InitEnded();
  });
  if (!container->cgroup_directory_.empty()) {
    if (Status status = context.oom_watcher.Add(container->id_, container->cgroup_directory_); !status) {
      log::Warning("memory events are not watched",
                   {{"container", container->id_}, {"error", status.error().message()}});
    }
  }
  return container;
}

Result<std::shared_ptr<Process>> Container::FindProcess(const std::string& exec_id) const {
  if (exec_id.empty() || exec_id == id_) return init_;
  const auto it = execs_.find(exec_id);
  if (it == execs_.end() || it->second == nullptr) {
    return MakeError(Code::kNotFound, "container '{}' has no process '{}'", id_, exec_id);
  }
  return it->second;
}

Status Container::CheckUsable(bool unpaused) const {
  if (removing_) return MakeError(Code::kFailedPrecondition, "container '{}' is being removed", id_);
  if (!running()) return MakeError(Code::kFailedPrecondition, "container '{}' is not running", id_);
  if (unpaused && paused_) return MakeError(Code::kFailedPrecondition, "container '{}' is paused", id_);
  return {};
}

void Container::RunStep(std::move_only_function<Status(ContainerParts&)> step, StatusCallback callback) {
  jobs_.Add([parts = parts_, step = std::move(step), callback = std::move(callback)]() mutable -> Completion {
    Status status = parts->jail
                        ? step(*parts)
                        : MakeError(Code::kFailedPrecondition, "container '{}' is removed", parts->id);
    return [status = std::move(status), callback = std::move(callback)]() mutable {
      callback(std::move(status));
    };
  });
}

void Container::Start(StatusCallback callback) {
  if (Status status = CheckUsable(true); !status) return callback(std::move(status));
  auto starting = std::make_shared<std::optional<jail::StartingProgram>>();
  RunStep(
      [starting](ContainerParts& parts) -> Status {
        *starting = TRY(parts.jail->BeginStart());
        return {};
      },
      [self = shared_from_this(), starting, callback = std::move(callback)](Status status) mutable {
        if (!status) return callback(std::move(status));
        self->AwaitStart(std::move(**starting), std::move(callback));
      });
}

// On the loop thread, as startContainer hooks may take hours.
void Container::AwaitStart(jail::StartingProgram starting, StatusCallback callback) {
  start_ = std::make_unique<PendingStart>(PendingStart{
      asio::posix::stream_descriptor(context_.loop.context(), starting.answer.Release()),
      asio::steady_timer(context_.loop.context(), starting.deadline.time()), std::move(callback)});
  const auto finish = [weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<Container> self = weak.lock();
    if (error || !self || !self->start_) return;
    StatusCallback start_callback = std::move(self->start_->callback);
    self->start_.reset();
    self->RunStep(FinishStartAndRunHooks, std::move(start_callback));
  };
  start_->answer.async_wait(asio::posix::stream_descriptor::wait_read, finish);
  start_->timer.async_wait(finish);
}

void Container::Exec(const grpc::ExecProcessRequest& request, StatusCallback callback) {
  const std::string& exec_id = request.exec_id();
  if (Status status = CheckUsable(true); !status) return callback(std::move(status));
  Result<ExecPlan> plan = PlanExec(request);
  if (!plan) return callback(std::move(plan).error());
  const auto it = execs_.find(exec_id);
  const bool reusable = it != execs_.end() && it->second && it->second->ended() && it->second->waited_for();
  if (exec_id == id_ || (it != execs_.end() && !reusable)) {
    return callback(
        MakeError(Code::kAlreadyExists, "container '{}' has a process '{}' already", id_, exec_id));
  }
  execs_[exec_id] = nullptr;
  forget_timers_.erase(exec_id);
  jobs_.Add([self = shared_from_this(), exec_id, plan = std::move(*plan),
             callback = std::move(callback)]() mutable -> Completion {
    Result<StartedExec> exec =
        self->parts_->jail ? StartExec(*self->parts_->jail, plan, self->context_.settings)
                           : MakeError(Code::kFailedPrecondition, "container '{}' is removed", self->id_);
    return [self, exec_id, exec = std::move(exec), callback = std::move(callback)]() mutable {
      self->AdoptExec(exec_id, std::move(exec), std::move(callback));
    };
  });
}

void Container::AdoptExec(const std::string& exec_id, Result<StartedExec> exec, StatusCallback callback) {
  const bool given_up = given_up_execs_.erase(exec_id) > 0;
  if (!exec) {
    execs_.erase(exec_id);
    return callback(std::move(exec).error());
  }
  Result<std::shared_ptr<Process>> process = Process::Adopt(
      context_.loop, context_.reaper, fmt::format("process '{}' of container '{}'", exec_id, id_),
      std::move(exec->child), std::move(exec->stdio));
  if (!process) {
    execs_.erase(exec_id);
    return callback(std::move(process).error());
  }
  if (given_up) {
    execs_.erase(exec_id);
    (void)(*process)->Signal(SIGKILL);
    return callback(MakeError(Code::kCancelled, "process '{}' was killed while it started", exec_id));
  }
  execs_[exec_id] = std::move(*process);
  callback({});
}

void Container::Signal(const std::string& exec_id, int signal, StatusCallback callback) {
  if (exec_id.empty() && signal == SIGKILL) {
    KillAll();
    return callback({});
  }
  const auto starting = execs_.find(exec_id);
  if (signal == SIGKILL && starting != execs_.end() && starting->second == nullptr) {
    given_up_execs_.insert(exec_id);
    return callback({});
  }
  const Result<std::shared_ptr<Process>> process = FindProcess(exec_id);
  if (!process) return callback(Error(process.error()));
  if (*process == init_ && signal == SIGTERM && !init_->ended() && !looks_at_init_) {
    return TerminateInit(std::move(callback));
  }
  callback((*process)->Signal(signal));
}

// Engines stop containers with SIGTERM; where that would not arrive it would only cost the time until
// SIGKILL. The container can make the look at it wait, for example by an execve(2) that closes a file of a
// FUSE server of its own: /proc/PID/syscall needs exec_update_lock.
void Container::TerminateInit(StatusCallback callback) {
  looks_at_init_ = true;
  context_.jobs.Run([self = shared_from_this(), pid = init_->pid(),
                     callback = std::move(callback)]() mutable -> Completion {
    const bool dropped = DropsSignal(pid, SIGTERM);
    return [self = std::move(self), dropped, callback = std::move(callback)]() mutable {
      self->looks_at_init_ = false;
      callback(self->init_->Signal(dropped ? SIGKILL : SIGTERM));
    };
  });
}

void Container::SignalAll(int signal, StatusCallback callback) {
  if (signal == SIGKILL) {
    KillAll();
    return callback({});
  }
  if (Status status = CheckUsable(false); !status) return callback(std::move(status));
  RunStep([signal](ContainerParts& parts) { return parts.jail->SignalAll(signal); }, std::move(callback));
}

void Container::KillAll() {
  // Not by the jail, which a job may be using: the kill must not wait for it.
  if (!cgroup_directory_.empty()) {
    Result<linux::CgroupDir> cgroup = linux::CgroupDir::Open(cgroup_directory_);
    if (cgroup) {
      if (Status status = cgroup->Kill(); !status) {
        log::Warning("kill container", {{"container", id_}, {"error", status.error().message()}});
      }
    }
  }
  if (Status status = init_->Signal(SIGKILL); !status) {
    log::Warning("kill container", {{"container", id_}, {"error", status.error().message()}});
  }
  for (const auto& [exec_id, process] : execs_) {
    if (process) {
      (void)process->Signal(SIGKILL);
    } else {
      given_up_execs_.insert(exec_id);
    }
  }
}

void Container::Pause(StatusCallback callback) {
  if (Status status = CheckUsable(false); !status) return callback(std::move(status));
  RunStep([](ContainerParts& parts) { return parts.jail->Pause(Deadline::After(kFreezeTimeout)); },
          [self = shared_from_this(), callback = std::move(callback)](Status status) mutable {
            if (status) self->paused_ = true;
            callback(std::move(status));
          });
}

void Container::Resume(StatusCallback callback) {
  if (Status status = CheckUsable(false); !status) return callback(std::move(status));
  RunStep([](ContainerParts& parts) { return parts.jail->Resume(Deadline::After(kFreezeTimeout)); },
          [self = shared_from_this(), callback = std::move(callback)](Status status) mutable {
            if (status) self->paused_ = false;
            callback(std::move(status));
          });
}

void Container::Update(oci::Resources resources, StatusCallback callback) {
  if (Status status = CheckUsable(false); !status) return callback(std::move(status));
  RunStep(
      [resources = std::move(resources), &settings = context_.settings](ContainerParts& parts) {
        RefreshLimits(settings);
        return parts.jail->Update(resources);
      },
      std::move(callback));
}

void Container::Stats(StatsCallback callback) {
  // Without a cgroup nothing is known.
  if (cgroup_directory_.empty()) return callback(grpc::StatsContainerResponse());
  context_.jobs.Run([directory = cgroup_directory_, callback = std::move(callback)]() mutable -> Completion {
    Result<grpc::StatsContainerResponse> stats = ReadCgroupStats(directory);
    return
        [stats = std::move(stats), callback = std::move(callback)]() mutable { callback(std::move(stats)); };
  });
}

void Container::Remove(std::chrono::seconds timeout, StatusCallback callback) {
  PendingRemoval removal{std::move(callback), nullptr};
  if (timeout.count() > 0) {
    removal.timer = std::make_unique<asio::steady_timer>(context_.loop.context(), timeout);
    removal.timer->async_wait(
        [weak = weak_from_this(), timeout, timer = removal.timer.get()](const asio::error_code& error) {
          const std::shared_ptr<Container> self = weak.lock();
          if (error || !self) return;
          for (PendingRemoval& pending : self->removals_) {
            if (pending.timer.get() != timer || !pending.callback) continue;
            std::exchange(pending.callback,
                          {})(MakeError(Code::kDeadlineExceeded, "container '{}' was not removed within {} s",
                                        self->id_, timeout.count()));
          }
        });
  }
  removals_.push_back(std::move(removal));
  if (removing_) return;
  removing_ = true;
  KillAll();
  if (init_->ended()) TearDown();
}

void Container::InitEnded() {
  // In front of the exit code: the host wants to know then whether it was for lack of memory.
  oom_killed_ = context_.oom_watcher.Update(id_);
  if (removing_) TearDown();
}

void Container::TearDown() {
  context_.oom_watcher.Remove(id_);
  jobs_.Add([self = shared_from_this()]() -> Completion {
    ContainerParts parts = std::move(*self->parts_);
    *self->parts_ = ContainerParts{};
    TearDownContainer(self->context_.storages, std::move(parts));
    return [self] {
      // Who is told that it is gone finds nothing of it, and may make another one with its id.
      if (self->on_removed_) std::exchange(self->on_removed_, {})();
      for (PendingRemoval& pending : std::exchange(self->removals_, {})) {
        if (pending.callback) pending.callback({});
      }
    };
  });
}

void Container::ForgetIfFinished(const std::string& exec_id) {
  const auto it = execs_.find(exec_id);
  if (it == execs_.end() || !it->second || !it->second->waited_for()) return;
  if (it->second->finished()) {
    execs_.erase(it);
    forget_timers_.erase(exec_id);
    return;
  }
  std::unique_ptr<asio::steady_timer>& timer = forget_timers_[exec_id];
  if (timer) return;
  timer = std::make_unique<asio::steady_timer>(context_.loop.context(), kForgetTime);
  timer->async_wait([weak = weak_from_this(), exec_id](const asio::error_code& error) {
    const std::shared_ptr<Container> self = weak.lock();
    if (error || !self) return;
    self->execs_.erase(exec_id);
    self->forget_timers_.erase(exec_id);
  });
}

void Container::DropConnection(uint64_t connection_id) {
  init_->DropConnection(connection_id);
  for (const auto& [exec_id, process] : execs_) {
    if (process) process->DropConnection(connection_id);
  }
}

}  // namespace kata::agent
