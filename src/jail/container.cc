// Container: the agent's handle of one container.
#include <poll.h>
#include <sys/stat.h>

#include <csignal>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/scope_exit.h"
#include "jail/cgroup_resources.h"
#include "jail/device_cgroup.h"
#include "jail/jail.h"
#include "jail/launch.h"
#include "jail/namespaces.h"
#include "jail/process_attributes.h"
#include "linux/cgroup2.h"
#include "oci/hook_time_limit.h"

namespace kata::jail {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(30);
constexpr auto kRemoveTimeout = std::chrono::seconds(10);
constexpr auto kFreezeTimeout = std::chrono::seconds(5);

bool HasEnded(int pidfd) {
  pollfd poll_fd{pidfd, POLLIN, 0};
  return poll(&poll_fd, 1, 0) == 1;
}

Status CheckRootfs(const std::string& rootfs) {
  struct stat info{};
  if (rootfs.empty() || rootfs[0] != '/') {
    return MakeError(Code::kInvalidArgument, "root file system '{}' is not an absolute path", rootfs);
  }
  if (stat(rootfs.c_str(), &info) < 0) return SysError("root file system '{}'", rootfs);
  if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, fmt::format("root file system '{}'", rootfs));
  return {};
}

}  // namespace

class Container::Impl {
 public:
  ~Impl() {
    if (cgroup.valid()) {
      (void)cgroup.Kill();
    } else if (init.valid()) {
      (void)init.Signal(SIGKILL);
    } else if (pidfd) {
      (void)SignalPidfd(pidfd.get(), SIGKILL);
    }
    channel.Close();
    // Kills and reaps init if it was not taken.
    init = ChildProcess();
    if (!cgroup.valid()) return;
    if (const Status removed = cgroup.Remove(Deadline::After(kRemoveTimeout)); !removed) {
      log::Warning("a cgroup stays", {{"error", removed.error().message()}});
    }
  }

  Status CreateCgroup(const CreateOptions& options) {
    if (options.cgroup_path.empty()) return {};
    linux::CgroupDir created = TRY(linux::CgroupDir::Create(options.cgroup_root, options.cgroup_path));
    // Whoever lives there would be killed with this container.
    if (TRY(created.Populated())) {
      return MakeError(Code::kAlreadyExists, "cgroup '{}' has processes already", options.cgroup_path);
    }
    cgroup = std::move(created);
    cgroup_path = cgroup.directory().substr(options.cgroup_root.size());
    return {};
  }

  Status LaunchInit(const oci::Spec& container_spec, const CreateOptions& options) {
    Request request;
    request.operation = Request::Operation::kCreate;
    request.spec = container_spec;
    request.user_names = options.user_names;
    request.container_id = options.container_id;
    request.bundle = options.bundle;
    request.rootfs = options.rootfs;
    request.enable_seccomp = options.enable_seccomp;
    const SandboxNamespaces sandbox{options.ipc_namespace_fd, options.uts_namespace_fd,
                                    options.pid_namespace_fd};
    // Checked here for the error's sake; the process plans anew.
    namespaces = TRY(PlanNamespaces(container_spec, sandbox)).AllFlags();
    std::map<int, int> fds;
    if (cgroup.valid()) fds[kCgroupFd] = cgroup.fd();
    if (sandbox.ipc_fd >= 0) fds[kIpcNamespaceFd] = sandbox.ipc_fd;
    if (sandbox.uts_fd >= 0) fds[kUtsNamespaceFd] = sandbox.uts_fd;
    if (sandbox.pid_fd >= 0) fds[kPidNamespaceFd] = sandbox.pid_fd;
    LaunchedProcess launched =
        TRY(Launch(request, options.stdio, std::move(fds), options.self_executable, options.deadline));
    init = std::move(launched.process);
    terminal = std::move(launched.terminal);
    channel = std::move(launched.channel);
    pid = init.pid();
    pidfd = TRY(DuplicateFd(init.pidfd()));
    if ((namespaces & CLONE_NEWCGROUP) != 0) {
      cgroup_namespace = TRY(linux::NamespaceFd::OfProcess(pid, CLONE_NEWCGROUP));
    }
    return {};
  }

  // What the agent does to a process at the gate: outside of its namespaces, with the agent's rights.
  static Status ApplyLimits(pid_t target, const oci::Process& process) {
    TRY(SetProcessRlimits(target, process.rlimits));
    if (process.oom_score_adj) TRY(SetOomScoreAdjustment(target, *process.oom_score_adj));
    return {};
  }

  // All of them or, after a failure, none. `rules`: null leaves those for devices as they are.
  Status ApplyResources(const oci::Resources& resources, const std::vector<oci::DeviceRule>* rules) {
    if (!cgroup.valid()) return {};
    linux::KnobChanges changes;
    TRY(ApplyCgroupResources(cgroup, resources, changes));
    if (rules != nullptr) TRY(device_filter.Apply(cgroup, *rules));
    changes.Keep();
    return {};
  }

  // The kernel kills what does not fit under a limit, here init before it has begun.
  Status CheckMemoryLimit() const {
    if (!cgroup.valid() || TRY(cgroup.OomKills()) == 0) return {};
    return KilledForMemory(TRY(cgroup.Read("memory.max")));
  }

  // To each process as it is found; those that end meanwhile are none any more.
  Status SignalProcesses(int signal) const {
    Status result;
    for (const pid_t process : TRY(cgroup.Processes())) {
      const Result<UniqueFd> target = OpenPidfd(process);
      // The number may be another's by now.
      const Result<std::string> place = linux::CgroupOfProcess(process);
      if (!target || !place) continue;
      if (*place != cgroup_path && !place->starts_with(cgroup_path + "/")) continue;
      Status sent = SignalPidfd(target->get(), signal);
      if (!sent && sent.error().sys_errno() != ESRCH && result) result = std::move(sent);
    }
    return result;
  }

  // Where an additional process begins, and where if the kernel takes none there (not valid: nowhere else).
  struct ExecCgroup {
    UniqueFd first;
    UniqueFd second;
  };
  Result<ExecCgroup> OpenExecCgroup(const std::string& path) const {
    if (path.empty() && !cgroup.valid()) return ExecCgroup();
    TRY(NeedCgroup());
    ExecCgroup result;
    result.first = TRY(cgroup.OpenBelow(path));
    if (!path.empty()) return result;
    const std::string of_init = TRY(linux::CgroupOfProcess(pid));
    // Only below: init may have ended meanwhile, and its number be another's.
    if (!of_init.starts_with(cgroup_path + "/")) return result;
    if (Result<UniqueFd> fd = cgroup.OpenBelow(of_init.substr(cgroup_path.size()))) {
      result.second = std::move(*fd);
    }
    return result;
  }

  Status NeedCgroup() const {
    if (cgroup.valid()) return {};
    return MakeError(Code::kFailedPrecondition, "the container has no cgroup");
  }

  std::string id;
  oci::Spec spec;
  int namespaces = 0;
  linux::CgroupDir cgroup;
  std::string cgroup_path;  // below the mount point
  std::string no_directory;
  DeviceFilter device_filter;
  linux::NamespaceFd cgroup_namespace;
  ChildProcess init;
  pid_t pid = -1;
  UniqueFd pidfd;  // a copy that stays when init is taken
  UniqueFd terminal;
  SyncChannel channel;
  bool gate_is_open = false;
};

Container::Container(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Container::~Container() = default;

Result<std::unique_ptr<Container>> Container::Create(const oci::Spec& spec, const CreateOptions& options) {
  if (!spec.process) return MakeError(Code::kInvalidArgument, "process is missing");
  TRY(CheckRootfs(options.rootfs));
  auto impl = std::make_unique<Impl>();
  impl->id = options.container_id;
  impl->spec = spec;
  TRY(impl->CreateCgroup(options));
  TRY(impl->LaunchInit(spec, options));
  // Only now, as mounting and making devices is the agent's work, not the container's.
  const bool limited = spec.linux && spec.linux->resources;
  const std::vector<oci::DeviceRule> rules = DeviceRulesOf(spec);
  TRY(impl->ApplyResources(limited ? *spec.linux->resources : oci::Resources(), &rules));
  TRY(impl->CheckMemoryLimit());
  TRY(impl->ApplyLimits(impl->pid, *spec.process));
  return std::unique_ptr<Container>(new Container(std::move(impl)));
}

Status Container::Start() {
  const StartingProgram starting = TRY(BeginStart());
  TRY(WaitFd(starting.answer.get(), POLLIN, starting.deadline, "the container's program"));
  return FinishStart();
}

Result<StartingProgram> Container::BeginStart() {
  if (!impl_->channel.valid() || impl_->gate_is_open)
    return MakeError(Code::kFailedPrecondition, "the container has been started before");
  UniqueFd answer = TRY(DuplicateFd(impl_->channel.fd()));
  const auto deadline = Deadline::After(kStartTimeout + oci::TimeLimit(impl_->spec.hooks.start_container));
  TRY(OpenGate(impl_->channel));
  impl_->gate_is_open = true;
  return StartingProgram{std::move(answer), deadline};
}

Status Container::FinishStart() {
  Status started = AwaitProgram(impl_->channel, Deadline::After(std::chrono::seconds(0)));
  impl_->channel.Close();
  if (!started) TRY(impl_->CheckMemoryLimit());
  return started;
}

Result<StartedProcess> Container::Exec(const oci::Process& process, const ExecOptions& options) {
  if (HasEnded(impl_->pidfd.get()))
    return MakeError(Code::kFailedPrecondition, "the container is not running");
  if (impl_->cgroup.valid() && impl_->cgroup.HasFile("cgroup.freeze") &&
      TRY(impl_->cgroup.ReadNumber("cgroup.freeze")) != 0) {
    return MakeError(Code::kFailedPrecondition, "the container is paused");
  }
  Request request;
  request.operation = Request::Operation::kExec;
  request.spec = impl_->spec;
  // Not needed by the process, and large.
  request.spec.mounts.clear();
  request.spec.hooks = {};
  request.spec.process = process;
  if (!process.capabilities) request.spec.process->capabilities = impl_->spec.process->capabilities;
  if (!process.user.umask) request.spec.process->user.umask = impl_->spec.process->user.umask;
  request.container_id = impl_->id;
  request.user_names = options.user_names;
  request.namespaces = impl_->namespaces;
  request.enable_seccomp = options.enable_seccomp;
  std::map<int, int> fds{{kInitPidfd, impl_->pidfd.get()}};
  const Impl::ExecCgroup cgroup = TRY(impl_->OpenExecCgroup(options.cgroup));
  if (cgroup.first) fds[kCgroupFd] = cgroup.first.get();
  if (cgroup.second) fds[kInitCgroupFd] = cgroup.second.get();
  if (impl_->cgroup_namespace.valid()) fds[kCgroupNamespaceFd] = impl_->cgroup_namespace.get();
  LaunchedProcess launched =
      TRY(Launch(request, options.stdio, std::move(fds), options.self_executable, options.deadline));
  TRY(impl_->ApplyLimits(launched.process.pid(), process));
  TRY(OpenGate(launched.channel));
  TRY(AwaitProgram(launched.channel, options.deadline));
  return StartedProcess{std::move(launched.process), std::move(launched.terminal)};
}

pid_t Container::init_pid() const {
  return impl_->pid;
}
int Container::init_pidfd() const {
  return impl_->pidfd.get();
}
ChildProcess Container::TakeInit() {
  return std::move(impl_->init);
}

UniqueFd Container::TakeTerminal() {
  return std::move(impl_->terminal);
}

Status Container::Pause(Deadline deadline) {
  TRY(impl_->NeedCgroup());
  return impl_->cgroup.Freeze(deadline);
}

Status Container::Resume(Deadline deadline) {
  TRY(impl_->NeedCgroup());
  return impl_->cgroup.Thaw(deadline);
}

Status Container::SignalAll(int signal) {
  if (!impl_->cgroup.valid()) return SignalPidfd(impl_->pidfd.get(), signal);
  const bool paused = TRY(impl_->cgroup.ReadNumber("cgroup.freeze")) != 0;
  if (!paused) {
    // A process that waits in the kernel can keep the container from standing still, but not from this.
    const Status frozen = impl_->cgroup.Freeze(Deadline::After(kFreezeTimeout));
    if (!frozen) log::Debug("a signal goes to moving processes", {{"error", frozen.error().message()}});
  }
  Status sent = impl_->SignalProcesses(signal);
  if (!paused) TRY(impl_->cgroup.Thaw(Deadline::After(kFreezeTimeout)));
  return sent;
}

Status Container::Update(const oci::Resources& resources) {
  TRY(impl_->NeedCgroup());
  return impl_->ApplyResources(resources, resources.devices.empty() ? nullptr : &resources.devices);
}

const std::string& Container::cgroup_directory() const {
  return impl_->cgroup.valid() ? impl_->cgroup.directory() : impl_->no_directory;
}

}  // namespace kata::jail
