#include "agent/container_setup.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/container_limits.h"
#include "agent/device/devices.h"
#include "agent/diagnostics.h"
#include "base/file.h"
#include "base/log.h"
#include "base/scope_exit.h"
#include "jail/shared_mounts.h"
#include "linux/mounts.h"
#include "oci/json.h"
#include "protocol/constants.h"
#include "protocol/oci_convert.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kJailTimeout{30};
// As Kata's agent: the other container may be about to mount it.
constexpr std::chrono::seconds kSharedMountTimeout{10};

Status CheckSupported(const grpc::CreateContainerRequest& request) {
  if (request.stdin_port() != 0 || request.stdout_port() != 0 || request.stderr_port() != 0) {
    return Error(Code::kUnimplemented, "stdio over connections of its own is not supported");
  }
  return {};
}

// Makes `<bundle>/rootfs` show the root file system, which may be there already.
Result<std::string> MountRoot(const std::string& bundle_directory, const std::string& source) {
  std::string rootfs = bundle_directory + "/rootfs";
  TRY(MakeDirectories(rootfs));
  if (source != rootfs) TRY_CTX(linux::Mount(source, rootfs, "", MS_BIND | MS_REC), "root file system");
  return rootfs;
}

// By the agent's descriptors, which the container's first process finds while it is set up.
void JoinNamespaces(const ContainerNamespaces& namespaces, oci::Spec& spec) {
  for (const auto& [type, fd] : namespaces) {
    if (!fd.valid()) continue;
    std::erase_if(spec.linux->namespaces, [&](const oci::Namespace& entry) { return entry.type == type; });
    spec.linux->namespaces.push_back({type, fmt::format("/proc/{}/fd/{}", getpid(), fd.get())});
  }
}

Status MakeBundle(const std::string& directory, const oci::Spec& spec) {
  TRY(MakeDirectories(directory, 0700));
  return WriteFileAtomic(directory + "/config.json", oci::ToJson(spec), 0600);
}

}  // namespace

jail::UserNames ToUserNames(const grpc::StringUser& user) {
  return {.user = user.uid(),
          .group = user.gid(),
          .additional_groups = {user.additionalgids().begin(), user.additionalgids().end()}};
}

Status AdaptSpec(oci::Spec& spec) {
  if (!spec.process) return Error(Code::kInvalidArgument, "the specification has no process");
  if (!spec.root) return Error(Code::kInvalidArgument, "the specification has no root");
  if (!spec.linux) spec.linux.emplace();
  std::vector<oci::Namespace>& namespaces = spec.linux->namespaces;
  std::erase_if(namespaces, [](const oci::Namespace& entry) { return entry.type == "network"; });
  for (oci::Namespace& entry : namespaces) entry.path.clear();  // paths are the host's
  for (const char* type : {"mount", "pid", "ipc", "uts", "cgroup"}) {
    const bool listed = std::any_of(namespaces.begin(), namespaces.end(),
                                    [&](const oci::Namespace& entry) { return entry.type == type; });
    if (!listed) namespaces.push_back({type, {}});
  }
  oci::Hooks hooks;
  hooks.start_container = std::move(spec.hooks.start_container);
  spec.hooks = std::move(hooks);
  // The agent's own score, which is inherited, protects it from the OOM killer (proc(5)).
  if (!spec.process->oom_score_adj) spec.process->oom_score_adj = 0;
  return {};
}

void RefreshLimits(const Settings& settings) {
  // Elsewhere than in a guest of its own the agent has no say over what others use.
  if (!settings.in_guest || settings.cgroup_root.empty()) return;
  const Result<ContainerLimits> limits = LimitContainers(settings.cgroup_root);
  if (limits) {
    log::Debug("limits of all containers", {{"memory", limits->memory_bytes}, {"tasks", limits->tasks}});
  } else {
    log::Warning("limits of all containers were not set", {{"error", limits.error().message()}});
  }
}

Result<NewContainer> SetUpContainer(const Settings& settings, StorageTable& storages,
                                    const SandboxNamespaces& namespaces,
                                    const ContainerNamespaces& own_namespaces, SharedPidNamespace* shared_pid,
                                    std::shared_ptr<const GuestHooks> hooks,
                                    const std::vector<SharedMountSource>& shared_mounts,
                                    const grpc::CreateContainerRequest& request) {
  TRY(CheckSupported(request));
  NewContainer created;
  ContainerParts& parts = created.parts;
  parts.id = request.container_id();
  oci::Spec spec = TRY(protocol::FromProto(request.oci()));
  TRY(AdaptSpec(spec));
  JoinNamespaces(own_namespaces, spec);
  TRY(ApplyDevices(request.devices(), DeviceFinder(), settings.hotplug_timeout, spec));
  TRY(oci::Validate(spec));
  parts.termination_log = TerminationLogSource(spec);
  parts.bundle_directory = fmt::format("{}/{}", protocol::kGuestBundlesDirectory, parts.id);

  ScopeExit undo([&] { TearDownContainer(storages, std::move(parts)); });
  TRY(MakeBundle(parts.bundle_directory, spec));
  TRY(AcquireStorages(storages, request.storages(), parts.id, parts.storages));

  jail::CreateOptions options;
  options.container_id = parts.id;
  options.bundle = request.bundle().empty() ? parts.bundle_directory : request.bundle();
  options.rootfs = TRY(MountRoot(parts.bundle_directory, spec.root->path));
  if (!settings.cgroup_root.empty()) {
    options.cgroup_root = settings.cgroup_root;
    options.cgroup_path = fmt::format("{}/{}", kContainersCgroup, parts.id);
    RefreshLimits(settings);
  }
  if (!own_namespaces.contains("ipc")) options.ipc_namespace_fd = namespaces.ipc.get();
  if (!own_namespaces.contains("uts")) options.uts_namespace_fd = namespaces.uts.get();
  if (request.sandbox_pidns() && shared_pid->fd.valid()) options.pid_namespace_fd = shared_pid->fd.get();
  if (!spec.process->terminal) created.stdio = TRY(MakePipes(settings.pipe_size_bytes, request.null_stdin()));
  options.stdio = created.stdio.ForJail();
  options.stdio.plain_newlines = request.plain_newlines();
  if (request.has_string_user()) options.user_names = ToUserNames(request.string_user());
  options.enable_seccomp = jail::SeccompSupported();
  options.self_executable = settings.self_executable;
  options.deadline = Deadline::After(kJailTimeout);
  parts.jail = TRY(jail::Container::Create(spec, options));
  if (shared_pid != nullptr && !shared_pid->fd.valid()) {
    shared_pid->fd = TRY(linux::NamespaceFd::OfProcess(parts.jail->init_pid(), CLONE_NEWPID));
  }
  if (spec.process->terminal) created.stdio = TRY(TerminalEnds(parts.jail->TakeTerminal()));
  const Deadline shared_mounts_deadline = Deadline::After(kSharedMountTimeout);
  for (const SharedMountSource& mount : shared_mounts) {
    TRY(jail::ShareMount(mount.pidfd->get(), mount.source_path, parts.jail->init_pidfd(),
                         mount.destination_path, shared_mounts_deadline));
  }
  parts.hooks = std::move(hooks);
  parts.hook_state = {spec.oci_version,       parts.id,        "created", parts.jail->init_pid(),
                      parts.bundle_directory, spec.annotations};
  TRY(RunHooks(parts.hooks->prestart, parts.hook_state));
  created.init = parts.jail->TakeInit();
  created.stdio.CloseChildEnds();
  undo.Release();
  return created;
}

void TearDownContainer(StorageTable& storages, ContainerParts parts) {
  parts.jail.reset();
  parts.hook_state.status = "stopped";
  parts.hook_state.pid = 0;
  const auto note = [&](const Status& status) {
    if (status) return;
    log::Warning("container was not removed cleanly",
                 {{"container", parts.id}, {"error", status.error().message()}});
  };
  if (parts.hooks) note(RunHooks(parts.hooks->poststop, parts.hook_state));
  note(linux::UnmountAll(parts.bundle_directory + "/rootfs"));
  ReleaseStorages(storages, parts.storages);
  note(RemoveTree(parts.bundle_directory));
}

}  // namespace kata::agent
