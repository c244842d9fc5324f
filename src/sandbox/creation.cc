#include "sandbox/creation.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/scope_exit.h"
#include "linux/namespaces.h"
#include "oci/id_map.h"
#include "oci/json.h"
#include "protocol/constants.h"
#include "sandbox/guest_spec.h"
#include "sandbox/hooks.h"
#include "sandbox/machine_spec.h"
#include "sandbox/removal.h"
#include "sandbox/time_limits.h"
#include "storage/mount_plan.h"

namespace kata::sandbox {
namespace {

// Plugs in the container's disks; `ids` are those that were, also after a failure.
Result<std::vector<grpc::Device>> AttachDisks(Machine& machine, const DevicePlan& plan,
                                              std::vector<std::string>& ids) {
  static std::atomic<unsigned> next_number = 0;
  const Deadline deadline = Deadline::After(kPlugTime);
  std::vector<grpc::Device> devices;
  for (const DevicePlan::Disk& disk : plan.disks) {
    const std::string id = fmt::format("disk{}", next_number++);
    const hypervisor::BlockDevice block{
        .id = id, .path = disk.host.node, .read_only = disk.host.read_only, .is_device = true};
    grpc::Device device;
    device.set_id(TRY_CTX(machine.AttachDevice(block, deadline), "device '{}'", disk.container_path));
    ids.push_back(id);
    device.set_type(std::string(protocol::kDeviceBlock));
    device.set_container_path(disk.container_path);
    devices.push_back(std::move(device));
  }
  return devices;
}

// "module parameter parameter" of the configuration file.
grpc::KernelModule ParseKernelModule(const std::string& line) {
  grpc::KernelModule module;
  size_t begin = 0;
  while ((begin = line.find_first_not_of(' ', begin)) != std::string::npos) {
    const size_t end = line.find(' ', begin);
    const std::string word = line.substr(begin, end - begin);
    if (module.name().empty()) {
      module.set_name(word);
    } else {
      module.add_parameters(word);
    }
    if (end == std::string::npos) break;
    begin = end;
  }
  return module;
}

}  // namespace

void DetachDisks(Machine& machine, const std::vector<std::string>& ids) {
  const Deadline deadline = Deadline::After(kPlugTime);
  for (const std::string& id : ids) {
    const Status detached = machine.DetachDevice(id, deadline);
    if (!detached) log::Debug("a disk was not unplugged", {{"error", detached.error().message()}});
  }
}

Result<oci::Spec> CreateJob::ReadSpec() const {
  const std::string file = bundle + "/config.json";
  const std::string json = TRY(ReadFile(file, oci::kMaxConfigBytes));
  oci::Spec spec = TRY_CTX(oci::ParseSpec(json), "read '{}'", file);
  TRY_CTX(oci::Validate(spec), "read '{}'", file);
  if (!spec.process) return MakeError(Code::kInvalidArgument, "read '{}': process: is missing", file);
  if (!spec.root) return MakeError(Code::kInvalidArgument, "read '{}': root: is missing", file);
  TRY_CTX(CheckGuestSpec(spec), "read '{}'", file);
  TRY_CTX(CheckNamespacePaths(spec), "read '{}'", file);
  TRY_CTX(oci::ResolveUserNamespace(spec), "read '{}'", file);
  if (!config.runtime.disable_guest_seccomp) TRY_CTX(CheckGuestSeccomp(spec), "read '{}'", file);
  if (spec.process->terminal != terminal) {
    return Error(Code::kInvalidArgument, "the process and its stdio do not agree on having a terminal");
  }
  return spec;
}

Result<std::string> CreateJob::FindRootfs(const oci::Spec& spec) const {
  const std::string& path = spec.root->path;
  std::string rootfs = path.starts_with('/') ? path : bundle + "/" + path;
  struct stat info{};
  if (stat(rootfs.c_str(), &info) < 0) return SysError("root file system '{}'", rootfs);
  if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, fmt::format("root file system '{}'", rootfs));
  return rootfs;
}

// The server's mount namespace is as old as the sandbox. What engines mount later appears in it only where
// their mounts are shared; the root file system of a further container is therefore brought in for its
// creation.
Result<linux::ScopedMount> CreateJob::ImportRootfs(const std::string& rootfs) const {
  UniqueFd mount;
  TRY_CTX(linux::CallInMountNamespace(host_mount_namespace,
                                      [&]() -> Status {
                                        mount = TRY(linux::CloneMount(AT_FDCWD, rootfs, /*recursive=*/true));
                                        return {};
                                      }),
          "root file system '{}'", rootfs);
  const UniqueFd mount_point = TRY(Open(rootfs, O_PATH | O_DIRECTORY));
  TRY(linux::AttachMount(mount.get(), mount_point.get()));
  return linux::ScopedMount(rootfs);
}

// When the environment is there as far as it is on the host (namespaces, control groups), and before the
// machine starts, so that what hooks do to network and root file system reaches it.
Status CreateJob::RunHooks(const oci::Spec& spec, const std::string& rootfs) const {
  const oci::Hooks& hooks = spec.hooks;
  if (!hooks.start_container.empty() || !hooks.poststart.empty() || !hooks.poststop.empty()) {
    // For the clients that come later: startContainer to know how long they have to wait.
    TRY(container_directory.WriteHooks({.start_container = hooks.start_container,
                                        .poststart = hooks.poststart,
                                        .poststop = hooks.poststop}));
  }
  HookRun run{.point = "prestart",
              .state = HookState(state, "creating"),
              .working_directory = bundle,
              .namespace_fds = {},
              .cancel_fd = hooks_cancel_fd};
  run.state.oci_version = spec.oci_version;
  run.state.annotations = spec.annotations;
  if (host_mount_namespace >= 0) run.namespace_fds = {host_mount_namespace};
  TRY(sandbox::RunHooks(hooks.prestart, run));
  run.point = "createRuntime";
  TRY(sandbox::RunHooks(hooks.create_runtime, run));
  if (hooks.create_container.empty()) return {};
  // In the container's namespaces: what they mount below the root file system is shared with the guest and
  // not seen on the host.
  const UniqueFd network = TRY(OpenNetworkNamespace());
  run.point = "createContainer";
  run.namespace_fds = {network.get()};
  run.working_directory = rootfs;
  return sandbox::RunHooks(hooks.create_container, run);
}

Result<UniqueFd> CreateJob::OpenNetworkNamespace() const {
  UniqueFd fd = TRY(Open(fmt::format("/proc/{}/ns/net", state.shim.pid), O_RDONLY));
  // Else it may be that of a later process with its number.
  if (!IsAlive(state.shim)) return Error(Code::kCancelled, "kata-shim ended");
  return fd;
}

// What cannot reach the guest shall not cost a boot. Behind the hooks, which may make the sources.
Status CreateJob::CheckMounts(const oci::Spec& spec) const {
  return linux::CallInMountNamespace(host_mount_namespace, [&]() -> Status {
    TRY(storage::PlanMounts(spec, bundle, storage::ProbeSource));
    return {};
  });
}

Status CreateJob::Boot(const oci::Spec& spec, const DevicePlan& devices) const {
  Guest::BootRequest request;
  request.machine.sandbox_id = sandbox_id;
  request.machine.directory = directory;
  request.machine.config = &config;
  request.machine.size = sizer->wanted();
  request.machine.disks = static_cast<uint32_t>(devices.disks.size());
  request.machine.host_mount_namespace = host_mount_namespace;
  request.machine.network_namespace = TRY(OpenNetworkNamespace());
  request.machine.cgroup_procs = TRY(cgroup.OpenProcs());
  request.sandbox.set_sandbox_id(sandbox_id);
  request.sandbox.set_hostname(GuestHostName(spec));
  for (std::string& line : ResolverLines(spec, bundle)) request.sandbox.add_dns(std::move(line));
  request.sandbox.set_guest_hook_path(config.hypervisor.guest_hook_path);
  for (const std::string& module : config.agent.kernel_modules) {
    *request.sandbox.add_kernel_modules() = ParseKernelModule(module);
  }
  const BootSlot slot = TRY(AwaitTurn());
  const log::Step step("boot virtual machine");
  return guest->Boot(std::move(request));
}

Result<BootSlot> CreateJob::AwaitTurn() const {
  if (!EmulatesProcessors(config)) return BootSlot();
  const log::Step step("wait for the turn to boot");
  Result<BootSlot> slot =
      BootSlot::Take(kBootSlotDirectory, std::max(2U, std::thread::hardware_concurrency()),
                     Deadline::After(kBootSlotTime), hooks_cancel_fd);
  if (slot || slot.error().code() == Code::kCancelled) return slot;
  // A convenience only: as well without.
  log::Warning("the virtual machine boots out of turn", {{"error", slot.error().message()}});
  return BootSlot();
}

Status CreateJob::CreateInGuest(Machine& machine, CreateResult& container, const DevicePlan& devices) const {
  oci::Spec spec = container.spec;
  if (spec.linux) spec.linux->devices = devices.devices;
  const std::shared_ptr<AgentClient> agent = guest->agent();
  if (!agent) return Error(Code::kUnavailable, "the virtual machine is not running");
  const log::Step step("create container in the guest", {{"container", container_id}});
  GuestSpecOptions options;
  options.container_id = container_id;
  options.bundle = bundle;
  options.keep_seccomp = guest->supports_seccomp() && !config.runtime.disable_guest_seccomp;
  options.stdio = stdio;
  options.devices = TRY(AttachDisks(machine, devices, container.disks));
  container.readiness = PrepareReadiness(*agent, container_id, notify, bundle, host_mount_namespace, spec);
  options.files =
      TRY(machine.ShareContainer(container_id, {.rootfs = container.rootfs,
                                                .spec = spec,
                                                .bundle = bundle,
                                                .shared_memory = SharesWithSandbox("ipc", container)}));
  if (container.readiness.listens) options.files.mounts.push_back(container.readiness.mount);
  grpc::CreateContainerRequest request = MakeCreateContainerRequest(spec, options);
  request.set_sandbox_pidns(SharesWithSandbox("pid", container));
  request.mutable_namespaces()->insert(container.namespaces.begin(), container.namespaces.end());
  Status created = agent->CreateContainer(request, config.runtime.create_container_timeout);
  if (!created && created.error().code() == Code::kDeadlineExceeded) {
    return MakeError(Code::kDeadlineExceeded, "the agent has not created it within {} s",
                     config.runtime.create_container_timeout.count());
  }
  return created;
}

bool CreateJob::SharesWithSandbox(const char* type, const CreateResult& container) {
  return JoinsNamespace(container.spec, type) && !container.namespaces.contains(type);
}

Result<CreateResult> CreateJob::Run() const {
  CreateResult result;
  result.spec = TRY(ReadSpec());
  if (!boot) result.namespaces = TRY(PlanGuestNamespaces(result.spec, sandbox_id, shims));
  result.rootfs = TRY(FindRootfs(result.spec));
  linux::ScopedMount imported;
  if (!boot && host_mount_namespace >= 0) imported = TRY(ImportRootfs(result.rootfs));
  oci::Resources resources;
  if (result.spec.linux && result.spec.linux->resources) resources = *result.spec.linux->resources;
  sizer->Set(container_id, resources);
  const cgroup::Limits limits = cgroup::PlanLimits(cgroup.unified(), resources, sizer->overhead());
  DevicePlan devices;
  if (result.spec.linux) devices = TRY(PlanDevices(*result.spec.linux, FindHostDisk));
  TRY_CTX(cgroup.Apply(limits.at_creation), "control group on the host");
  TRY(RunHooks(result.spec, result.rootfs));
  TRY(CheckMounts(result.spec));
  TRY(boot ? Boot(result.spec, devices) : sizer->Grow());
  const std::shared_ptr<Machine> machine = guest->machine();
  if (!machine) return Error(Code::kUnavailable, "the virtual machine is not running");
  ScopeExit undo([&] {
    (void)machine->UnshareContainer(container_id);
    DetachDisks(*machine, result.disks);
  });
  TRY(CreateInGuest(*machine, result, devices));
  TRY_CTX(cgroup.Apply(limits.when_created), "control group on the host");
  undo.Release();
  if (const Result<unsigned long long> start_time = ProcessStartTime(machine->vmm_pid())) {
    result.vmm = {machine->vmm_pid(), *start_time};
  }
  return result;
}

}  // namespace kata::sandbox
