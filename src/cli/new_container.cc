#include "cli/new_container.h"

#include <pwd.h>
#include <unistd.h>

#include <csignal>

#include "base/log.h"
#include "cli/configuration.h"
#include "cli/host_cgroup.h"
#include "cli/left_out.h"
#include "cli/network_namespace.h"
#include "cli/pid_file.h"
#include "cli/stand_in_mounts.h"
#include "oci/hook_time_limit.h"
#include "oci/id_map.h"
#include "sandbox/hooks.h"
#include "sandbox/pod.h"
#include "sandbox/removal.h"
#include "sandbox/time_limits.h"

namespace kata::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kAttachTimeout{15};
// How long a server that broke off a connection may take to end, and to be told of as the cause.
constexpr seconds kExplainGrace{3};
constexpr seconds kServerEndTimeout{10};

// As runc names it: the user's name where there is one.
std::string OwnerName() {
  const uid_t uid = geteuid();
  passwd entry;
  passwd* found = nullptr;
  char buffer[4096];
  if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return fmt::format("#{}", uid);
}

// Of the sandbox that a container of a pod belongs in.
Result<sandbox::StateDirectory> OpenPod(const GlobalOptions& globals, const std::string& sandbox_id) {
  Result<sandbox::StateDirectory> directory = sandbox::StateDirectory::Open(globals.root, sandbox_id);
  if (directory || directory.error().code() != Code::kNotFound) return directory;
  return MakeError(
      Code::kFailedPrecondition,
      "the sandbox '{}' of its pod is not one of this runtime, and the containers of a pod share one "
      "virtual machine; create the pod with this runtime, too",
      sandbox_id);
}

// Not valid: the container has none of its own.
Result<linux::NamespaceFd> OpenUserNamespace(const oci::Spec& spec) {
  const oci::Namespace* user = oci::FindUserNamespace(spec);
  if (user == nullptr || (user->path.empty() && spec.linux->uid_mappings.empty()))
    return linux::NamespaceFd();
  return oci::OpenIdMap({.namespace_path = user->path,
                         .uid_mappings = spec.linux->uid_mappings,
                         .gid_mappings = spec.linux->gid_mappings});
}

}  // namespace

Result<std::unique_ptr<NewContainer>> NewContainer::Create(const GlobalOptions& globals,
                                                           const NewContainerRequest& request,
                                                           SignalQueue& signals) {
  const log::Step step("create container", {{"container", request.id}, {"bundle", request.bundle}});
  // What can be found wrong without leaving a trace comes first.
  const Bundle bundle = TRY(LoadBundle(request.bundle));
  WarnOfWhatIsLeftOut(bundle.spec);
  TRY(CheckTerminal(bundle.spec.process->terminal, request.stdio));
  TRY(CheckPidFile(request.stdio.pid_file));

  const std::string pod = sandbox::PodSandboxOf(bundle.spec.annotations);
  std::optional<sandbox::StateDirectory> pod_directory;
  if (!pod.empty() && pod != request.id) pod_directory = TRY(OpenPod(globals, pod));
  // The virtual machine of a pod is that of its first container.
  const config::Config config =
      TRY(LoadConfiguration(globals, pod_directory ? oci::StringMap() : bundle.spec.annotations));

  sandbox::StateDirectory directory = TRY(sandbox::StateDirectory::Create(globals.root, request.id));
  sandbox::StateDirectory server_directory = pod_directory ? std::move(*pod_directory) : directory;
  std::unique_ptr<NewContainer> container(
      new NewContainer(globals, request, signals, std::move(directory), std::move(server_directory)));
  container->hooks_ = bundle.spec.hooks;
  Status made = container->Make(bundle, config);
  if (made) return container;
  // Whatever has failed, it did so for that.
  if (!container->directory_.IsCurrent()) {
    return Error(Code::kAborted, "the container was deleted meanwhile");
  }
  return std::move(made).error();
}

Status NewContainer::Make(const Bundle& bundle, const config::Config& config) {
  TRY(MakeCgroup(bundle));
  TRY(Launch(bundle, config.file));
  return CreateInServer(bundle, sandbox::CreateLimit(config, bundle.spec.hooks));
}

Status NewContainer::MakeCgroup(const Bundle& bundle) {
  const std::string& path = bundle.spec.linux->cgroups_path;
  if (globals_.cgroup_manager == CgroupManager::kSystemd) {
    // Made when there is a process for it.
    scope_ = TRY(PlanScope(path, request_.id, bundle.spec.annotations));
    return WriteFirstState(bundle, cgroup_);
  }
  return MakeRecorded(bundle, TRY(PlanHostCgroup(globals_, path, request_.id)),
                      [&] { return MakeHostCgroup(globals_, path, request_.id); });
}

Status NewContainer::EnterSystemdScope(const Bundle& bundle) {
  return MakeRecorded(bundle, TRY(PlanScopeCgroup(*scope_)),
                      [&] { return EnterScope(*scope_, stand_in_.process.pid()); });
}

Status NewContainer::MakeRecorded(const Bundle& bundle, const cgroup::HostCgroup& planned,
                                  const std::function<Result<cgroup::HostCgroup>()>& make) {
  TRY(WriteFirstState(bundle, planned));
  Result<cgroup::HostCgroup> made = make();
  if (made) cgroup_ = std::move(*made);
  if (made && cgroup_.directories() == planned.directories()) return {};
  // What is there all the same is somebody else's, and must not go with the container.
  const Status corrected = WriteFirstState(bundle, cgroup_);
  return made ? corrected : Status(std::move(made).error());
}

Status NewContainer::WriteFirstState(const Bundle& bundle, const cgroup::HostCgroup& cgroup) {
  sandbox::ContainerState state;
  state.oci_version = bundle.spec.oci_version;
  state.id = request_.id;
  state.sandbox_id = server_directory_.id();
  state.bundle = bundle.path;
  state.rootfs = bundle.rootfs;
  state.created = log::FormatTime(std::chrono::system_clock::now());
  state.owner = OwnerName();
  state.status = "creating";
  state.creator = {getpid(), TRY(ProcessStartTime(getpid()))};
  state.annotations = bundle.spec.annotations;
  state.cgroups = cgroup.directories();
  if (scope_ && !cgroup.empty()) state.systemd_unit = scope_->unit;
  return directory_.WriteState(state);
}

Status NewContainer::Launch(const Bundle& bundle, const std::string& config_file) {
  const log::Step step("start sandbox server and kata-shim", {{"container", request_.id}});
  const linux::NamespaceFd network_namespace = TRY(OpenNetworkNamespace(bundle.spec));
  const linux::NamespaceFd mounts = TRY(MakeStandInMounts(bundle));
  const linux::NamespaceFd users = TRY_CTX(OpenUserNamespace(bundle.spec), "user namespace of kata-shim");
  stdio_ = TRY(OpenStdio(*bundle.spec.process, request_.stdio));
  if (server_directory_.id() == request_.id) {
    server_ =
        TRY(SandboxServer::Start(directory_, config_file, bundle.spec.process->oom_score_adj, globals_));
  }
  stand_in_ = TRY(StartStandIn(request_.id, "", *bundle.spec.process, stdio_,
                               {network_namespace, cgroup_, mounts, users},
                               /*die_with_us=*/!request_.stdio.detach));
  if (server_) log::Debug("sandbox server", {{"container", request_.id}, {"pid", server_->pid()}});
  log::Debug("kata-shim", {{"container", request_.id}, {"pid", stand_in_.process.pid()}});
  return scope_ ? EnterSystemdScope(bundle) : Status();
}

Status NewContainer::CreateInServer(const Bundle& bundle, std::chrono::nanoseconds timeout) {
  TRY(signals_.CheckInterrupt());
  const log::Step step("create container in the sandbox server", {{"container", request_.id}});
  sandbox::AttachRequest attach = TRY(MakeAttachRequest(request_.id, "", stand_in_, stdio_));
  Result<UniqueFd> attach_socket = server_directory_.ConnectAttach();
  if (!attach_socket) return Explain(std::move(attach_socket).error());
  Result<sandbox::Attachment> attachment = sandbox::Attachment::Attach(
      std::move(*attach_socket), std::move(attach), Deadline::After(kAttachTimeout));
  if (!attachment) return Explain(std::move(attachment).error());
  attachment_ = std::move(*attachment);

  Result<UniqueFd> task_socket = server_directory_.ConnectTask();
  if (!task_socket) return Explain(std::move(task_socket).error());
  client_ = std::make_unique<TaskClient>(std::move(*task_socket));
  client_->WatchWhileWaiting(signals_.fd(), [this] { return signals_.CheckInterrupt(); });
  if (server_) {
    client_->WatchWhileWaiting(server_->stderr_fd(), [this]() -> Status {
      server_->ReadStderr();
      return {};
    });
  }
  const Status created =
      client_->Create(request_.id, bundle.path, stdio_.terminal, !notify_address_.empty(), timeout);
  if (!created) {
    if (created.error().code() != Code::kUnavailable) return created.error();
    return Explain(created.error());
  }
  return signals_.CheckInterrupt();
}

Error NewContainer::Explain(Error error) {
  if (server_) return server_->Explain(std::move(error), kExplainGrace);
  return std::move(error).Wrap(fmt::format("sandbox '{}' of the pod", server_directory_.id()));
}

Status NewContainer::Start() {
  const log::Step step("start container", {{"container", request_.id}});
  TRY(client_->Start(request_.id, "", sandbox::StartTimeLimit(hooks_)));
  started_ = true;
  return {};
}

// As runc, it fails only when it is interrupted.
Status NewContainer::AwaitReady() {
  if (!started_ || notify_address_.empty()) return {};
  const log::Step step("wait for the container to be ready", {{"container", request_.id}});
  const auto pass_on = [this]() -> Status {
    const ServiceManager manager = TRY(ServiceManager::Connect(notify_address_));
    return PassReadyOn(*client_, request_.id, manager, stand_in_.process.pid(), signals_.fd());
  };
  Status passed = pass_on();
  if (passed) return {};
  if (passed.error().code() == Code::kCancelled) {
    TRY(signals_.CheckInterrupt());  // which it may have been already, by the wait
    return passed;
  }
  log::Warning("the service manager is not told that the container is ready",
               {{"container", request_.id}, {"error", passed.error().message()}});
  return {};
}

// The service is this program, which stays in front of the container.
Status NewContainer::ForwardReady(std::unique_ptr<ReadyForwarder>& forwarder) {
  if (notify_address_.empty()) return {};
  UniqueFd connection = TRY(server_directory_.ConnectTask());
  forwarder = TRY(ReadyForwarder::Start(std::move(connection), request_.id, notify_address_, getpid()));
  return {};
}

Status NewContainer::TellOfProcess() {
  TRY(SendPidfd(request_.stdio.pidfd_socket, stand_in_.process.pidfd()));
  TRY(WritePidFile(request_.stdio.pid_file, stand_in_.process.pid()));
  pid_file_written_ = !request_.stdio.pid_file.empty();
  return {};
}

Status NewContainer::Release() {
  TRY(signals_.CheckInterrupt());
  TRY(TellOfProcess());
  TRY(AwaitReady());
  TRY(Keep());
  (void)stand_in_.process.Detach();
  return {};
}

Result<int> NewContainer::ServeToEnd() {
  // From here on they are for the container.
  client_->Unwatch(signals_.fd());
  TRY(TellOfProcess());
  TRY(Start());
  std::unique_ptr<ReadyForwarder> forwarder;
  TRY(ForwardReady(forwarder));
  const int exit_code = TRY(ServeForeground(stand_in_.process, signals_, std::move(stdio_)));
  log::Debug("container ended", {{"container", request_.id}, {"code", exit_code}});
  return exit_code;
}

Status NewContainer::Keep() {
  TRY(attachment_->Commit());
  released_ = true;
  attachment_.reset();
  client_.reset();
  if (server_) server_->Detach();
  return {};
}

Status NewContainer::Remove() {
  // It stays, as with runc, for those who look for it later.
  pid_file_written_ = false;
  const log::Step step("delete container", {{"container", request_.id}});
  const Status deleted = client_->Delete(request_.id);
  if (!deleted)
    log::Debug("the sandbox server cannot delete the container", {{"error", deleted.error().message()}});
  Undo();
  return sandbox::RemoveTraces(directory_);
}

NewContainer::~NewContainer() {
  if (!released_) Undo();
}

void NewContainer::Undo() {
  released_ = true;
  if (pid_file_written_) unlink(request_.stdio.pid_file.c_str());
  if (server_) {
    EndServer();
  } else {
    LeavePod();
  }
  const Status removed = sandbox::RemoveTraces(directory_);
  if (!removed) log::Warning("cannot remove the state directory", {{"error", removed.error().message()}});
  // Somebody else may have removed the directory while there were processes in them.
  (void)cgroup_.Remove(Deadline::After(seconds(0)));
  // Without a commit its end tells the server to destroy the container; so not before that was done here, as
  // two must not do it.
  attachment_.reset();
}

void NewContainer::EndServer() {
  // Without a commit its end tells the server to destroy all it has; one that nobody has attached to has
  // nothing.
  const seconds grace = attachment_ ? kServerEndTimeout + oci::TimeLimit(hooks_.poststop) : seconds(0);
  attachment_.reset();
  stand_in_ = StandIn();
  if (client_ != nullptr) {
    client_->Unwatch(signals_.fd());
    (void)client_->Shutdown(request_.id, /*now=*/true);  // else by force below
    client_.reset();
  }
  server_->AwaitEnd(grace);
}

void NewContainer::LeavePod() {
  stand_in_ = StandIn();
  if (client_ == nullptr) return;
  client_->Unwatch(signals_.fd());
  // There is none if its creation has failed.
  if (client_->Kill(request_.id, SIGKILL, /*all=*/true)) {
    // Answers when the container has gone.
    (void)client_->Delete(request_.id);
  }
  client_.reset();
}

}  // namespace kata::cli
