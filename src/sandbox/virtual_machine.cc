// VirtualMachine: shared directory, virtiofsd, agent channel and VMM, started in this order and ended in
// reverse.
#include "sandbox/virtual_machine.h"

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "hypervisor/assets.h"
#include "hypervisor/driver.h"
#include "hypervisor/vm.h"
#include "linux/namespaces.h"
#include "linux/unix_socket.h"
#include "protocol/constants.h"
#include "sandbox/agent_channel.h"
#include "sandbox/agent_log.h"
#include "sandbox/machine_spec.h"
#include "storage/mount_plan.h"
#include "storage/shared_directory.h"
#include "storage/virtiofsd.h"

namespace kata::sandbox {
namespace {

constexpr char kSharedFsDeviceId[] = "shared0";
// How much later than virtiofsd's end the VMM's may be noticed, where that is the cause and where not.
constexpr std::chrono::seconds kVmmEndTime{10};
constexpr std::chrono::milliseconds kNoticeTime{300};

// Tells the owner once why the machine is gone, whichever part of it went first. Loop thread.
class ExitReporter : public std::enable_shared_from_this<ExitReporter> {
 public:
  ExitReporter(EventLoop& loop, std::function<void(std::string)> on_exit)
      : loop_(loop), on_exit_(std::move(on_exit)) {}

  void Report(const std::string& reason) {
    if (const auto report = std::exchange(on_exit_, nullptr)) report(reason);
  }

  // virtiofsd ends, with success, when the VMM does. The VMM's end, which is the cause then, is noticed only
  // when its memory has been given back: on a busy machine seconds later.
  void ReportUnlessVmmEnds(const ExitStatus& status, const std::string& reason) {
    const std::chrono::milliseconds wait = status.ShellCode() == 0 ? kVmmEndTime : kNoticeTime;
    auto timer = std::make_shared<asio::steady_timer>(loop_.context(), wait);
    timer->async_wait([self = shared_from_this(), timer, reason](const std::error_code& error) {
      if (!error) self->Report(reason);
    });
  }

 private:
  EventLoop& loop_;
  std::function<void(std::string)> on_exit_;
};

// The container's /dev/shm becomes the sandbox's, which is made for the first that asks for it and goes with
// the last.
void ShareMemory(GuestFiles& files) {
  const std::string directory(protocol::kGuestShmDirectory);
  for (oci::Mount& mount : files.mounts) {
    if (mount.destination != "/dev/shm" || mount.type != "tmpfs") continue;
    grpc::Storage& storage = files.storages.emplace_back();
    storage.set_driver(std::string(protocol::kStorageEphemeral));
    storage.set_source("shm");
    storage.set_fstype("tmpfs");
    storage.set_mount_point(directory);
    for (const std::string& option : mount.options) {
      if (option != "ro") storage.add_options(option);
    }
    const bool read_only = std::find(mount.options.begin(), mount.options.end(), "ro") != mount.options.end();
    mount.type = "bind";
    mount.source = directory;
    mount.options = {"bind", "nosuid", "nodev", "noexec", read_only ? "ro" : "rw"};
  }
}

// Returns the path in the guest.
Result<std::string> Share(storage::SharedDirectory& shared, const std::string& container_id,
                          const storage::ShareRequest& request) {
  const storage::BindOptions options{.set = request.set,
                                     .clear = request.clear,
                                     .recursive_set = request.recursive_set,
                                     .recursive = request.recursive,
                                     .slave = request.slave,
                                     .id_map = request.id_map};
  if (request.overlay) return shared.AddOverlay(container_id, *request.overlay, request.destination, options);
  return shared.AddBindMount(container_id, request.source, request.destination, options);
}

class VirtualMachine : public Machine {
 public:
  VirtualMachine(EventLoop& loop, MachineOptions options, std::unique_ptr<hypervisor::Driver> driver)
      : loop_(loop),
        options_(std::move(options)),
        driver_(std::move(driver)),
        exit_reporter_(std::make_shared<ExitReporter>(loop, options_.on_exit)),
        size_(options_.size) {}
  ~VirtualMachine() override { (void)Stop(Deadline::After(std::chrono::seconds(5))); }

  Status Start(Deadline deadline) override;
  Result<UniqueFd> ConnectAgent(Deadline deadline) override;
  std::vector<grpc::Storage> SandboxStorages() const override;
  Result<GuestFiles> ShareContainer(const std::string& container_id, const HostFiles& files) override;
  Status UnshareContainer(const std::string& container_id) override;
  Result<std::string> AttachDevice(const hypervisor::DeviceSpec& device, Deadline deadline) override;
  Status DetachDevice(const std::string& device_id, Deadline deadline) override;
  MachineSize size() const override {
    const std::lock_guard lock(mutex_);
    return size_;
  }
  Result<MachineSize> Resize(MachineSize size, Deadline deadline) override;
  Status Stop(Deadline deadline) override;

  pid_t vmm_pid() const override {
    const std::lock_guard lock(mutex_);
    return vm_ ? vm_->pid() : -1;
  }
  bool running() const override {
    const std::lock_guard lock(mutex_);
    return vm_ && vm_->running();
  }
  std::string LastWords() const override {
    const std::lock_guard lock(mutex_);
    return vm_ ? vm_->LastWords() : "";
  }

 private:
  const config::HypervisorConfig& config() const { return options_.config->hypervisor; }
  bool UsesVirtioFs() const { return config().shared_fs == "virtio-fs"; }
  std::vector<int> CgroupProcs() const {
    std::vector<int> fds;
    for (const UniqueFd& fd : options_.cgroup_procs) fds.push_back(fd.get());
    return fds;
  }

  // Hands a part over to Stop. Fails when that has already been: the part ends then with the caller's
  // reference.
  template <typename T>
  Status Publish(std::shared_ptr<T>& member, std::shared_ptr<T> part) {
    const std::lock_guard lock(mutex_);
    if (stopped_) return Error(Code::kCancelled, "cancelled");
    member = std::move(part);
    return {};
  }

  // Logs the lines of a program; once the machine is being stopped, at debug level: virtiofsd complains of
  // it. `source` must be a constant.
  LineCallback ProgramLog(std::string_view source, log::Level level) const;
  Result<UniqueFd> StartVirtiofsd(const std::string& directory, Deadline deadline);
  Status StartVmm(const hypervisor::VmSpec& spec, Deadline deadline);
  // To a VMM a virtiofsd that has died is a broken socket: what virtiofsd said is the cause then.
  Error ExplainByVirtiofsd(Error error) const;
  std::shared_ptr<storage::SharedDirectory> shared_directory() const {
    const std::lock_guard lock(mutex_);
    return shared_directory_;
  }
  Result<std::shared_ptr<hypervisor::Vm>> RunningVm() const;

  EventLoop& loop_;
  MachineOptions options_;
  const std::unique_ptr<hypervisor::Driver> driver_;
  const std::shared_ptr<ExitReporter> exit_reporter_;
  // Of the guest's lines; and of those of VMM and virtiofsd, which may tell of all that a guest does. Loop
  // thread.
  const std::shared_ptr<TextBudget> text_budget_ = std::make_shared<TextBudget>();
  const std::shared_ptr<TextBudget> program_budget_ = std::make_shared<TextBudget>();
  const std::shared_ptr<std::atomic<bool>> ending_ = std::make_shared<std::atomic<bool>>(false);

  mutable std::mutex mutex_;  // guards what follows
  bool stopped_ = false;
  MachineSize size_;
  MachineSize max_size_;
  bool settled_ = true;  // the memory was as wanted after the last Resize
  std::shared_ptr<storage::SharedDirectory> shared_directory_;
  std::shared_ptr<storage::Virtiofsd> virtiofsd_;
  std::shared_ptr<AgentChannel> channel_;
  std::shared_ptr<hypervisor::Vm> vm_;
};

Status VirtualMachine::Start(Deadline deadline) {
  const std::shared_ptr<AgentChannel> channel = TRY(AgentChannel::Create(driver_->capabilities()));
  hypervisor::VmSpec spec =
      MakeVmSpec(*options_.config, options_.sandbox_id, options_.size, channel->KernelParameters());
  {
    const std::lock_guard lock(mutex_);
    max_size_ = {spec.max_vcpus, spec.max_memory_mib};
  }
  spec.hotplug_ports += options_.disks;
  // Before anything is set up: what is wrong with the files of the configuration.
  TRY(hypervisor::CheckAssets(spec));
  TRY(Publish(channel_, channel));

  const std::shared_ptr<storage::SharedDirectory> shared =
      TRY(storage::SharedDirectory::Create(options_.directory, options_.host_mount_namespace));
  TRY(Publish(shared_directory_, shared));
  UniqueFd virtiofsd_socket;
  if (UsesVirtioFs()) {
    virtiofsd_socket = TRY(StartVirtiofsd(shared->export_path(), deadline));
    spec.devices.push_back(hypervisor::VirtioFsDevice{.id = kSharedFsDeviceId,
                                                      .tag = std::string(protocol::kSharedTag),
                                                      .socket_fd = virtiofsd_socket.get(),
                                                      .queue_size = config().virtio_fs_queue_size,
                                                      .cache_size_mib = config().virtio_fs_cache_size_mib});
  } else {
    spec.devices.push_back(hypervisor::Virtio9pDevice{
        .id = kSharedFsDeviceId, .tag = std::string(protocol::kSharedTag), .path = shared->export_path()});
  }
  for (hypervisor::DeviceSpec& device : channel->Devices()) spec.devices.push_back(std::move(device));
  for (hypervisor::NetworkDevice& device : options_.network_devices)
    spec.devices.emplace_back(std::move(device));
  if (Status started = StartVmm(spec, deadline); !started)
    return ExplainByVirtiofsd(std::move(started).error());
  channel->OnVmmStarted();
  if (UniqueFd log_stream = channel->TakeLog())
    TRY(ForwardAgentLog(loop_, std::move(log_stream), text_budget_));
  return {};
}

LineCallback VirtualMachine::ProgramLog(std::string_view source, log::Level level) const {
  return [budget = program_budget_, ending = ending_, source, level](std::string_view line) {
    LogProgramLine(*ending ? log::Level::kDebug : level, source, line, *budget);
  };
}

Result<UniqueFd> VirtualMachine::StartVirtiofsd(const std::string& directory, Deadline deadline) {
  storage::VirtiofsdOptions options;
  options.program = config().virtio_fs_daemon;
  options.shared_directory = directory;
  options.socket_directory = options_.directory;
  options.cache = config().virtio_fs_cache;
  options.extra_args = config().virtio_fs_extra_args;
  options.debug = config().enable_debug;
  options.on_error_line = ProgramLog("virtiofsd", options.debug ? log::Level::kDebug : log::Level::kWarning);
  options.cgroup_procs_fds = CgroupProcs();
  const auto on_exit = [reporter = exit_reporter_](const ExitStatus& status, const std::string& reason) {
    reporter->ReportUnlessVmmEnds(status, reason);
  };
  std::shared_ptr<storage::Virtiofsd> virtiofsd =
      TRY(storage::Virtiofsd::Start(loop_, options, on_exit, deadline));
  UniqueFd socket = virtiofsd->TakeSocket();
  TRY(Publish(virtiofsd_, std::move(virtiofsd)));
  return socket;
}

Error VirtualMachine::ExplainByVirtiofsd(Error error) const {
  constexpr std::chrono::milliseconds kEndTime{500};
  std::shared_ptr<storage::Virtiofsd> virtiofsd;
  {
    const std::lock_guard lock(mutex_);
    virtiofsd = virtiofsd_;
  }
  if (!virtiofsd) return error;
  // It ends with success when the VMM goes first.
  const std::optional<ExitStatus> status = virtiofsd->WaitEnd(Deadline::After(kEndTime));
  if (!status || status->ShellCode() == 0) return error;
  return Error(error.code(), virtiofsd->LastWords());
}

Status VirtualMachine::StartVmm(const hypervisor::VmSpec& spec, Deadline deadline) {
  hypervisor::Vm::Options options;
  options.on_exit = [reporter = exit_reporter_](const std::string& reason) { reporter->Report(reason); };
  options.on_console_line = [budget = text_budget_](std::string_view line) { LogConsoleLine(line, *budget); };
  options.on_vmm_line = ProgramLog(driver_->name(), log::Level::kWarning);
  if (options_.network_namespace) options.namespace_fds = {options_.network_namespace.get()};
  options.cgroup_procs_fds = CgroupProcs();
  UniqueFd console_listener;
  if (options_.config->agent.debug_console_enabled) {
    console_listener = TRY(linux::ListenUnix(options_.directory + "/console.sock"));
    options.console_listener_fd = console_listener.get();
  }
  std::shared_ptr<hypervisor::Vm> vm =
      TRY(hypervisor::Vm::Start(loop_, *driver_, spec, std::move(options), deadline));
  log::Info(
      "virtual machine started",
      {{"hypervisor", driver_->name()},
       {"vmm", vm->pid()},
       {"acceleration", hypervisor::AccelerationName(hypervisor::ResolveAcceleration(spec.acceleration))}});
  return Publish(vm_, std::move(vm));
}

Result<UniqueFd> VirtualMachine::ConnectAgent(Deadline deadline) {
  std::shared_ptr<AgentChannel> channel;
  {
    const std::lock_guard lock(mutex_);
    if (!channel_) return Error(Code::kFailedPrecondition, "the virtual machine was not started");
    channel = channel_;
  }
  return channel->Connect(deadline);
}

std::vector<grpc::Storage> VirtualMachine::SandboxStorages() const {
  grpc::Storage shared;
  shared.set_source(std::string(protocol::kSharedTag));
  shared.set_mount_point(std::string(protocol::kGuestSharedDirectory));
  if (UsesVirtioFs()) {
    shared.set_driver(std::string(protocol::kStorageVirtioFs));
    shared.set_fstype(std::string(protocol::kFsTypeVirtioFs));
  } else {
    shared.set_driver(std::string(protocol::kStorage9p));
    shared.set_fstype(std::string(protocol::kFsType9p));
    // cache=mmap: with no cache at all files could not be mapped, and so no program be executed.
    for (const char* option : {"trans=virtio", "version=9p2000.L", "cache=mmap"}) shared.add_options(option);
    shared.add_options(fmt::format("msize={}", config().msize_9p));
  }
  // A container's devices are on the guest's own /dev.
  return {shared};
}

Result<GuestFiles> VirtualMachine::ShareContainer(const std::string& container_id, const HostFiles& files) {
  const std::shared_ptr<storage::SharedDirectory> shared = shared_directory();
  if (!shared) return Error(Code::kUnavailable, "the virtual machine is not running");
  storage::MountPlan plan;
  TRY(linux::CallInMountNamespace(options_.host_mount_namespace, [&]() -> Status {
    plan = TRY(storage::PlanMounts(files.spec, files.bundle, storage::ProbeSource));
    return {};
  }));
  GuestFiles guest;
  // Writable also below a root that shall be read-only: missing mount points are made first, then the guest
  // makes it read-only for the container.
  guest.rootfs = TRY(shared->AddRootfs(container_id, files.rootfs, /*read_only=*/false));
  for (const storage::ShareRequest& request : plan.shares) {
    if (request.id_map && !UsesVirtioFs()) {
      // QEMU's 9p server makes a file first and changes its owner then: itself it has no id in the map.
      return MakeError(Code::kUnimplemented,
                       "mount '{}' on '{}': ids cannot be mapped with shared_fs = \"{}\"", request.source,
                       request.destination, config().shared_fs);
    }
    plan.mounts[request.mount].source =
        TRY_CTX(Share(*shared, container_id, request), "mount on '{}'", request.destination);
  }
  guest.mounts = std::move(plan.mounts);
  if (files.shared_memory) ShareMemory(guest);
  return guest;
}

Status VirtualMachine::UnshareContainer(const std::string& container_id) {
  const std::shared_ptr<storage::SharedDirectory> shared = shared_directory();
  return shared ? shared->Remove(container_id) : Status();
}

Result<std::shared_ptr<hypervisor::Vm>> VirtualMachine::RunningVm() const {
  const std::lock_guard lock(mutex_);
  if (!vm_ || stopped_) return Error(Code::kUnavailable, "the virtual machine is not running");
  return vm_;
}

Result<std::string> VirtualMachine::AttachDevice(const hypervisor::DeviceSpec& device, Deadline deadline) {
  return TRY(RunningVm())->control().Attach(device, deadline);
}

Status VirtualMachine::DetachDevice(const std::string& device_id, Deadline deadline) {
  return TRY(RunningVm())->control().Detach(device_id, deadline);
}

Result<MachineSize> VirtualMachine::Resize(MachineSize size, Deadline deadline) {
  const std::shared_ptr<hypervisor::Vm> vm = TRY(RunningVm());
  const MachineSize smallest = options_.size;
  MachineSize now;
  MachineSize target;
  bool settled = false;
  {
    const std::lock_guard lock(mutex_);
    now = size_;
    settled = std::exchange(settled_, max_size_.memory_mib == smallest.memory_mib);
    target.vcpus = std::clamp(size.vcpus, smallest.vcpus, max_size_.vcpus);
    target.memory_mib = std::clamp(size.memory_mib, smallest.memory_mib, max_size_.memory_mib);
  }
  // What one of them fails at does not change what has become of the other.
  Status failure;
  if (target.vcpus != now.vcpus) {
    Result<uint32_t> vcpus = vm->control().SetVcpus(target.vcpus, deadline);
    if (vcpus) {
      now.vcpus = *vcpus;
    } else {
      failure = std::move(vcpus).error();
    }
  }
  settled = settled && target.memory_mib == now.memory_mib;
  if (!settled) {
    Result<uint64_t> memory_mib = vm->control().SetMemory(target.memory_mib, deadline);
    if (memory_mib) {
      now.memory_mib = *memory_mib;
      settled = now.memory_mib <= target.memory_mib + hypervisor::kMemoryUnitMib;
    } else {
      failure = std::move(memory_mib).error();
    }
  }
  const std::lock_guard lock(mutex_);
  size_ = now;
  settled_ = settled;
  if (!failure) return std::move(failure).error();
  return now;
}

Status VirtualMachine::Stop(Deadline deadline) {
  std::shared_ptr<storage::SharedDirectory> shared;
  std::shared_ptr<storage::Virtiofsd> virtiofsd;
  std::shared_ptr<AgentChannel> channel;
  std::shared_ptr<hypervisor::Vm> vm;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    shared = shared_directory_;
    virtiofsd = virtiofsd_;
    channel = channel_;
    vm = vm_;
  }
  *ending_ = true;
  // All are tried; the first failure is told.
  if (channel) channel->Cancel();
  Status result = vm ? vm->Stop(deadline) : Status();
  if (Status status = virtiofsd ? virtiofsd->Stop(deadline) : Status(); !status && result)
    result = std::move(status);
  if (Status status = shared ? shared->Destroy() : Status(); !status && result) result = std::move(status);
  return result;
}

}  // namespace

Result<std::unique_ptr<Machine>> MakeVirtualMachine(EventLoop& loop, MachineOptions options) {
  std::unique_ptr<hypervisor::Driver> driver = TRY(hypervisor::MakeDriver(options.config->hypervisor_name));
  return std::unique_ptr<Machine>(
      std::make_unique<VirtualMachine>(loop, std::move(options), std::move(driver)));
}

}  // namespace kata::sandbox
