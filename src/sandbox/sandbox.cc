// Sandbox: creation, deletion and the end of everything.
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/scope_exit.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "oci/id_map.h"
#include "oci/json.h"
#include "protocol/constants.h"
#include "sandbox/boot_slot.h"
#include "sandbox/container_devices.h"
#include "sandbox/guest_spec.h"
#include "sandbox/hooks.h"
#include "sandbox/machine_spec.h"
#include "sandbox/pod_namespaces.h"
#include "sandbox/readiness.h"
#include "sandbox/removal.h"
#include "sandbox/time_limits.h"
#include "storage/mount_plan.h"

namespace kata::sandbox {
namespace {

constexpr std::chrono::seconds kRemoveContainerTime{10};
constexpr int kLostExitCode = 255;
constexpr int kKilledExitCode = 128 + SIGKILL;

Error DoesNotExist() {
  return Error(Code::kNotFound, "container does not exist");
}

void DetachDisks(Machine& machine, const std::vector<std::string>& ids) {
  const Deadline deadline = Deadline::After(kPlugTime);
  for (const std::string& id : ids) {
    const Status detached = machine.DetachDevice(id, deadline);
    if (!detached) log::Debug("a disk was not unplugged", {{"error", detached.error().message()}});
  }
}

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
  if (request.exec_id.empty() && request.id != id()) {
    directory = TRY(StateDirectory::Open(options_.directory.root(), request.id));
  }
  ever_attached_ = true;
  Attachment& attachment = attachments_[connection_id];
  attachment.container_id = request.id;
  attachment.exec_id = request.exec_id;
  attachment.request = std::move(request);
  attachment.directory = std::move(directory);
  return {};
}

Result<AttachRequest> Sandbox::TakeAttachment(const std::string& container_id, const std::string& exec_id) {
  for (auto& [connection, attachment] : attachments_) {
    if (attachment.container_id == container_id && attachment.exec_id == exec_id &&
        attachment.request.channel) {
      return std::move(attachment.request);
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

struct Sandbox::CreateJob {
  std::shared_ptr<Sandbox>
      sandbox;  // keeps what is referred to alive; its loop-thread members are not touched
  const config::Config& config;
  std::shared_ptr<Guest> guest;
  std::shared_ptr<MachineSizer> sizer;
  std::string sandbox_id;
  std::string directory;
  std::string container_id;
  std::string bundle;
  bool terminal;
  bool notify;
  StdioTraits stdio;
  bool boot;
  StateDirectory container_directory;
  ContainerState state;
  cgroup::HostCgroup cgroup;
  int hooks_cancel_fd;                 // of the container, which outlives the job
  std::map<pid_t, std::string> shims;  // of init processes; the containers of the sandbox

  Result<CreateResult> Run() const;
  Status RunHooks(const oci::Spec& spec, const std::string& rootfs) const;
  Result<UniqueFd> OpenNetworkNamespace() const;  // the container's
  Result<oci::Spec> ReadSpec() const;
  Result<std::string> FindRootfs(const oci::Spec& spec) const;
  Result<linux::ScopedMount> ImportRootfs(const std::string& rootfs) const;
  Status CheckMounts(const oci::Spec& spec) const;
  Status Boot(const oci::Spec& spec, const DevicePlan& devices) const;
  Result<BootSlot> AwaitTurn() const;
  Status CreateInGuest(Machine& machine, CreateResult& container, const DevicePlan& devices) const;
  static bool SharesWithSandbox(const char* type, const CreateResult& container);
};

struct Sandbox::CreateResult {
  oci::Spec spec;
  GuestNamespaces namespaces;  // where they are not as in a sandbox of its own
  std::string rootfs;
  ProcessId vmm;
  std::vector<std::string> disks;  // of the machine, for the container alone
  Readiness readiness;
};

Result<oci::Spec> Sandbox::CreateJob::ReadSpec() const {
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

Result<std::string> Sandbox::CreateJob::FindRootfs(const oci::Spec& spec) const {
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
Result<linux::ScopedMount> Sandbox::CreateJob::ImportRootfs(const std::string& rootfs) const {
  UniqueFd mount;
  TRY_CTX(linux::CallInMountNamespace(sandbox->options_.host_mount_namespace.get(),
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
Status Sandbox::CreateJob::RunHooks(const oci::Spec& spec, const std::string& rootfs) const {
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
  const int host_mounts = sandbox->options_.host_mount_namespace.get();
  if (host_mounts >= 0) run.namespace_fds = {host_mounts};
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

Result<UniqueFd> Sandbox::CreateJob::OpenNetworkNamespace() const {
  UniqueFd fd = TRY(Open(fmt::format("/proc/{}/ns/net", state.shim.pid), O_RDONLY));
  // Else it may be that of a later process with its number.
  if (!IsAlive(state.shim)) return Error(Code::kCancelled, "kata-shim ended");
  return fd;
}

// What cannot reach the guest shall not cost a boot. Behind the hooks, which may make the sources.
Status Sandbox::CreateJob::CheckMounts(const oci::Spec& spec) const {
  return linux::CallInMountNamespace(sandbox->options_.host_mount_namespace.get(), [&]() -> Status {
    TRY(storage::PlanMounts(spec, bundle, storage::ProbeSource));
    return {};
  });
}

Status Sandbox::CreateJob::Boot(const oci::Spec& spec, const DevicePlan& devices) const {
  Guest::BootRequest request;
  request.machine.sandbox_id = sandbox_id;
  request.machine.directory = directory;
  request.machine.config = &config;
  request.machine.size = sizer->wanted();
  request.machine.disks = static_cast<uint32_t>(devices.disks.size());
  request.machine.host_mount_namespace = sandbox->options_.host_mount_namespace.get();
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

Result<BootSlot> Sandbox::CreateJob::AwaitTurn() const {
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

Status Sandbox::CreateJob::CreateInGuest(Machine& machine, CreateResult& container,
                                         const DevicePlan& devices) const {
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
  container.readiness = PrepareReadiness(*agent, container_id, notify, bundle,
                                         sandbox->options_.host_mount_namespace.get(), spec);
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

bool Sandbox::CreateJob::SharesWithSandbox(const char* type, const CreateResult& container) {
  return JoinsNamespace(container.spec, type) && !container.namespaces.contains(type);
}

Result<Sandbox::CreateResult> Sandbox::CreateJob::Run() const {
  CreateResult result;
  result.spec = TRY(ReadSpec());
  if (!boot) result.namespaces = TRY(PlanGuestNamespaces(result.spec, sandbox_id, shims));
  result.rootfs = TRY(FindRootfs(result.spec));
  linux::ScopedMount imported;
  if (!boot && sandbox->options_.host_mount_namespace) imported = TRY(ImportRootfs(result.rootfs));
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

Result<std::shared_ptr<Container>> Sandbox::NewContainer(const std::string& container_id,
                                                         const std::string& bundle) {
  if (shutting_down_) return Error(Code::kUnavailable, "the sandbox is being shut down");
  if (containers_.contains(container_id)) {
    return Error(Code::kAlreadyExists, "container with given ID already exists");
  }
  if (container_id == id() ? booted_ : !guest_->agent()) {
    return MakeError(Code::kFailedPrecondition, "sandbox '{}' does not run", id());
  }
  const StateDirectory directory = TRY(StateDirectory::Open(options_.directory.root(), container_id));
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

  AttachRequest attachment = TRY(TakeAttachment(container_id, ""));
  auto container = std::make_shared<Container>(
      Container::Context{.loop = loop_,
                         .workers = workers_,
                         .watcher = watcher_,
                         .guest = guest_,
                         .sizer = sizer_,
                         .host_mount_namespace = options_.host_mount_namespace.get(),
                         .patience = options_.patience},
      directory, std::move(state), std::move(attachment),
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
  CreateJob job{.sandbox = shared_from_this(),
                .config = options_.config,
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
  workers_.Post([this, job = std::move(job), container = container, reply = std::move(reply)]() mutable {
    Result<CreateResult> result = job.Run();
    loop_.Post([this, self = std::move(job.sandbox), container = std::move(container),
                result = std::move(result), reply = std::move(reply)]() mutable {
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
  return container->AddExec(exec_id, std::move(description), TRY(TakeAttachment(container_id, exec_id)));
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
