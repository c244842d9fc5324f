// Two processes, as a process cannot enter a pid namespace itself, only its children can (pid_namespaces(7)).
#include "jail/init_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sched.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "base/file.h"
#include "jail/accounts.h"
#include "jail/console.h"
#include "jail/credentials.h"
#include "jail/devices.h"
#include "jail/exec_path.h"
#include "jail/mount_plan.h"
#include "jail/mounts.h"
#include "jail/namespaces.h"
#include "jail/process_attributes.h"
#include "jail/rootfs.h"
#include "jail/seccomp.h"
#include "jail/start_hooks.h"
#include "oci/json.h"

namespace kata::jail {
namespace {

// How long the process waits for the agent while it is being set up. At the gate it waits until the agent
// ends.
constexpr auto kAgentTimeout = std::chrono::seconds(60);
constexpr auto kGateTimeout = std::chrono::hours(24 * 365 * 10);

// What the final process does differently for create and exec.
struct FinalPlan {
  NamespacePlan namespaces;
  std::vector<MountStep> mounts;
  DetachedMounts detached;
  int clone_flags = 0;
  linux::NamespaceFd cgroup_namespace;  // create: to join, if valid
};

Result<linux::PtyPair> SetUpContainer(const Request& request, FinalPlan& plan) {
  // Only now, as from inside of it the process could not have been born into the container's cgroup.
  if (plan.cgroup_namespace.valid()) TRY(plan.cgroup_namespace.Enter());
  const bool user_namespace = (plan.namespaces.AllFlags() & CLONE_NEWUSER) != 0;
  if (user_namespace) TRY(BecomeNamespaceRoot());
  // After the process has entered its cgroup, which becomes the root of what it sees.
  if (plan.namespaces.Creates(CLONE_NEWCGROUP)) TRY(linux::Unshare(CLONE_NEWCGROUP));
  TRY(ConfigureNamespaces(request.spec, plan.namespaces, Stage::kNew));
  return EnterRootfs(request.spec, plan.mounts, std::move(plan.detached));
}

Result<linux::PtyPair> JoinContainer(const Request& request, const InheritedFds& fds) {
  // Joined only now: a process outside of a cgroup namespace's root may not clone into the container's
  // cgroup.
  if (fds.Has(kCgroupNamespaceFd)) {
    const auto fd = TRY(linux::NamespaceFd::FromFd(UniqueFd(kCgroupNamespaceFd), CLONE_NEWCGROUP));
    TRY(fd.Enter());
  }
  if ((request.namespaces & CLONE_NEWUSER) != 0) TRY(BecomeNamespaceRoot());
  if (!request.spec.process->terminal) return linux::PtyPair();
  const UniqueFd root = TRY(Open("/", O_PATH | O_DIRECTORY));
  return OpenTerminal(root.get(), request.spec.process->console_size);
}

// The agent reads and writes at the master; the slave becomes the process's standard streams.
Status HandOverTerminal(linux::PtyPair terminal, SyncChannel& channel) {
  TRY(UseAsStdio(terminal.slave.get()));
  TRY(channel.Send(SyncChannel::Type::kTerminal, {}, terminal.master.get()));
  return {};
}

// The affinity before the process entered the container's cgroup must not outlast it: without one for the
// time after, the cgroup's cpuset alone decides.
Status ApplyFinalAffinity(const oci::ExecCpuAffinity& affinity) {
  if (!affinity.final.empty()) return SetCpuAffinity(affinity.final);
  return affinity.initial.empty() ? Status() : ResetCpuAffinity();
}

Status ApplyAttributes(const oci::Process& process, const Request& request) {
  const oci::Spec& spec = request.spec;
  const bool exec = request.operation == Request::Operation::kExec;
  TRY(StartSession(process.terminal));
  TRY(JoinSessionKeyring(request.container_id, /*first=*/!exec));
  if (process.scheduler) TRY(ApplyScheduler(*process.scheduler));
  if (process.io_priority) TRY(ApplyIoPriority(*process.io_priority));
  // The specification gives a CPU affinity to processes beside init only.
  if (exec && process.exec_cpu_affinity) TRY(ApplyFinalAffinity(*process.exec_cpu_affinity));
  if (spec.linux && spec.linux->personality) TRY(ApplyPersonality(*spec.linux->personality));
  TRY(GiveStdioTo(process.user.uid));
  umask(static_cast<mode_t>(process.user.umask.value_or(0022)));
  return {};
}

Status CheckWorkingDirectory() {
  // A directory outside of the root is shown as "(unreachable)...": getcwd(3).
  char buffer[PATH_MAX];
  if (syscall(SYS_getcwd, buffer, sizeof(buffer)) < 0) return SysError("read working directory");
  if (buffer[0] != '/')
    return MakeError(Code::kPermissionDenied, "the working directory is outside of the container");
  return {};
}

// Keeps the standard streams and the channel. execve closes what is close-on-exec only after it has followed
// the program's path, and that of a script's interpreter, and these the container chooses: with a directory
// of the agent still open, /proc/self/fd/N/.. would be a way to its files (CVE-2024-21626). A socket is no
// directory, and cannot be opened by that path. Nobody uses the other numbers again: what owns them ends with
// the process.
Status CloseAllBut(const SyncChannel& channel) {
  const auto kept = static_cast<unsigned>(channel.fd());
  if (syscall(SYS_close_range, 3U, kept - 1, 0) < 0 || syscall(SYS_close_range, kept + 1, ~0U, 0) < 0)
    return SysError("close file descriptors");
  return {};
}

// State of the specification as the container's own process sees it.
std::string StateForHooks(const Request& request) {
  oci::State state;
  state.oci_version = request.spec.oci_version;
  state.id = request.container_id;
  state.status = "created";
  state.pid = getpid();
  state.bundle = request.bundle;
  state.annotations = request.spec.annotations;
  return oci::ToJson(state);
}

// Gives up the last rights, directly before execve: once the filter of the container is loaded it judges
// every system call. Where no right is needed to load it, it comes last, so that it need not allow the other
// steps.
Status AssumeLastRights(const Credentials& credentials, const std::optional<SeccompFilter>& filter,
                        bool filter_needs_admin) {
  if (filter && filter_needs_admin) {
    TRY(credentials.RaiseAdmin());
    TRY(filter->Load());
  }
  TRY(credentials.Finish());
  if (filter && !filter_needs_admin) TRY(filter->Load());
  return {};
}

// Labels of security modules (apparmor_profile, selinux_label) name policies of the host, which the guest's
// kernel does not have: there the virtual machine confines. They are ignored.
//
// The common end: becomes the container's user, finds the program, waits at the gate, executes. Returns on
// failure.
Status ExecuteProcess(const Request& request, SyncChannel& channel) {
  oci::Process process = *request.spec.process;
  process.user = TRY(ResolveUser(request.user_names, process.user));
  TRY(ApplyAttributes(process, request));

  std::optional<SeccompFilter> filter;
  if (request.enable_seccomp && request.spec.linux && request.spec.linux->seccomp) {
    filter = TRY(SeccompFilter::Compile(*request.spec.linux->seccomp));
  }
  if (process.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return SysError("set no_new_privs");
  const bool filter_needs_admin = filter && !process.no_new_privileges;
  const Credentials credentials(process.user,
                                ResolveCapabilities(process.capabilities, linux::KernelCapabilities()),
                                filter_needs_admin);
  // As runc does: some directories only root with all capabilities may enter, others only the container's
  // user.
  const std::string cwd = process.cwd.empty() ? "/" : process.cwd;
  const bool entered = chdir(cwd.c_str()) == 0;
  if (!entered && errno != EACCES) return SysError("change to working directory '{}'", cwd);
  TRY(credentials.Assume());
  if (!entered && chdir(cwd.c_str()) < 0) return SysError("change to working directory '{}'", cwd);
  TRY(CheckWorkingDirectory());
  TRY(CloseAllBut(channel));
  const std::vector<std::string> environment = CompleteEnvironment(process.env, process.user.uid);
  const std::string program = TRY(FindExecutable(process.args[0], environment));
  const std::vector<char*> argv = PointersTo(process.args);
  const std::vector<char*> envp = PointersTo(environment);

  // The state for hooks is written before the agent sets the limits: that of file sizes would count for it.
  const std::vector<oci::Hook>& hooks = request.spec.hooks.start_container;
  UniqueFd state;
  if (!hooks.empty()) state = TRY(MakeSealedMemfd("hook-state", StateForHooks(request)));

  TRY(channel.Send(SyncChannel::Type::kReady));
  TRY_CTX(channel.Expect(SyncChannel::Type::kStart, Deadline::After(kGateTimeout)), "wait for start");

  const auto assume = [&] { return AssumeLastRights(credentials, filter, filter_needs_admin); };
  TRY(RunStartHooks(hooks, environment, state, assume));
  state.Reset();
  TRY(assume());
  execve(program.c_str(), argv.data(), envp.data());
  return CannotExecute(process.args[0], errno);
}

Status RunFinal(const Request& request, const InheritedFds& fds, FinalPlan& plan, SyncChannel& channel) {
  TRY_CTX(channel.Expect(SyncChannel::Type::kProceed, Deadline::After(kAgentTimeout)), "wait for the agent");
  const bool create = request.operation == Request::Operation::kCreate;
  linux::PtyPair terminal = TRY(create ? SetUpContainer(request, plan) : JoinContainer(request, fds));
  if (terminal.master) TRY(HandOverTerminal(std::move(terminal), channel));
  return ExecuteProcess(request, channel);
}

// A change of user id or a joined namespace must not make the process open to others in the container, who
// could reach the agent's binary and descriptors through /proc (CVE-2016-9962). execve resets it.
Status BecomeUndumpable() {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return SysError("clear dumpable flag");
  return {};
}

struct Clone {
  pid_t pid = -1;  // 0 in the new process
  UniqueFd pidfd;
};

Result<Clone> CloneFinalProcess(int flags, const InheritedFds& fds) {
  int pidfd = -1;
  clone_args args{};
  // With CLONE_PARENT the exit signal is that of the caller (clone(2)).
  args.flags = CLONE_PARENT | CLONE_PIDFD | static_cast<unsigned>(flags);
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  if (fds.Has(kCgroupFd)) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = kCgroupFd;
  }
  long pid = syscall(SYS_clone3, &args, sizeof(args));
  // "No internal processes": a cgroup that gives controllers to children has no processes itself
  // (cgroup-v2.rst), as that of a container with systemd in it.
  if (pid < 0 && errno == EBUSY && fds.Has(kInitCgroupFd)) {
    args.cgroup = kInitCgroupFd;
    pid = syscall(SYS_clone3, &args, sizeof(args));
  }
  if (pid < 0 && errno == EBUSY) {
    return MakeError(Code::kFailedPrecondition,
                     "start the process in its cgroup, which gives controllers to cgroups below it: {}",
                     strerror(errno));
  }
  if (pid < 0) return SysError("clone container process");
  Clone clone;
  clone.pid = static_cast<pid_t>(pid);
  if (pid > 0) clone.pidfd.Reset(pidfd);
  return clone;
}

Result<FinalPlan> PrepareCreate(const Request& request, const InheritedFds& fds) {
  FinalPlan plan;
  SandboxNamespaces sandbox;
  if (fds.Has(kIpcNamespaceFd)) sandbox.ipc_fd = kIpcNamespaceFd;
  if (fds.Has(kUtsNamespaceFd)) sandbox.uts_fd = kUtsNamespaceFd;
  if (fds.Has(kPidNamespaceFd)) sandbox.pid_fd = kPidNamespaceFd;
  plan.namespaces = TRY(PlanNamespaces(request.spec, sandbox));
  plan.mounts = TRY(PlanMounts(request.spec));
  const bool bind_cgroup = fds.Has(kCgroupFd) && (plan.namespaces.AllFlags() & CLONE_NEWCGROUP) == 0;
  const bool user_namespace = (plan.namespaces.AllFlags() & CLONE_NEWUSER) != 0;
  plan.detached = TRY(DetachMounts(request.rootfs, plan.mounts, user_namespace,
                                   bind_cgroup ? linux::FdPath(kCgroupFd) : std::string()));
  if (user_namespace && NeedsDevices(request.spec)) {
    plan.detached.devices = TRY(DetachDevices(request.spec, DevicesOf(request.spec), request.rootfs));
  }
  for (const NamespacePlan::Join& join : plan.namespaces.joins) {
    if (join.clone_flag != CLONE_NEWCGROUP) continue;
    plan.cgroup_namespace = TRY(linux::NamespaceFd::FromPath(join.path, join.clone_flag));
  }
  // setns(2) into a user or time namespace refuses a process whose fs_struct is shared.
  TRY(linux::Unshare(CLONE_FS));
  TRY(ConfigureNamespaces(request.spec, plan.namespaces, Stage::kAgents));
  TRY(JoinNamespaces(plan.namespaces));
  TRY(ConfigureNamespaces(request.spec, plan.namespaces, Stage::kJoined));
  TRY(CreateForeignFileSystems(plan.namespaces, plan.mounts, plan.detached));
  if (plan.namespaces.Creates(CLONE_NEWTIME)) TRY(CreateTimeNamespace(request.spec.linux->time_offsets));
  // The time namespace takes effect on the clone by itself; the cgroup namespace is made in the cgroup.
  plan.clone_flags = plan.namespaces.create & ~(CLONE_NEWTIME | CLONE_NEWCGROUP);
  return plan;
}

Result<FinalPlan> PrepareExec(const Request& request) {
  const oci::Process& process = *request.spec.process;
  if (process.exec_cpu_affinity && !process.exec_cpu_affinity->initial.empty()) {
    TRY(SetCpuAffinity(process.exec_cpu_affinity->initial));
  }
  // setns(2) into a mount namespace refuses a process whose fs_struct is shared.
  TRY(linux::Unshare(CLONE_FS));
  const int flags = request.namespaces & ~CLONE_NEWCGROUP;
  if (flags != 0) TRY(linux::EnterNamespacesOf(kInitPidfd, flags));
  return FinalPlan();
}

}  // namespace

Status RunIntermediate(const Request& request, const InheritedFds& fds, SyncChannel& channel) {
  if (!request.spec.process || request.spec.process->args.empty()) {
    return MakeError(Code::kInvalidArgument, "process.args is empty");
  }
  TRY(BecomeUndumpable());
  const bool create = request.operation == Request::Operation::kCreate;
  FinalPlan plan = TRY(create ? PrepareCreate(request, fds) : PrepareExec(request));
  Clone clone = TRY(CloneFinalProcess(plan.clone_flags, fds));
  if (clone.pid == 0) {
    TRY(BecomeUndumpable());
    return RunFinal(request, fds, plan, channel);
  }
  TRY(channel.Send(SyncChannel::Type::kPid, fmt::format("{}", clone.pid), clone.pidfd.get()));
  _exit(0);
}

}  // namespace kata::jail
