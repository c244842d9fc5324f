// QemuDriver::Plan: from a VmSpec to QEMU's command line.
#include <algorithm>
#include <set>

#include "hypervisor/qemu/devices.h"
#include "hypervisor/qemu/driver.h"

namespace kata::hypervisor::qemu {
namespace {

// q35 without an interrupt-remapping IOMMU addresses 255 APIC ids; the guest kernel and Kata's own limit are
// lower.
constexpr uint32_t kMaxVcpus = 240;
// arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE 2048 with the terminating NUL.
constexpr size_t kMaxKernelCommandLine = 2047;

// Starts a hundred milliseconds earlier than SeaBIOS, because it knows how to start a kernel and nothing
// else.
constexpr char kDefaultFirmware[] = "qboot.rom";

constexpr int kControlFd = 3;
constexpr int kConsoleFd = 4;
constexpr int kFirstDeviceFd = 5;

// Ids of the driver's own objects, which no device of the spec may take.
constexpr const char* kOwnIds[] = {"ram",     "control",      "console",           "console0",
                                   "serial0", "rng0",         "entropy",           "balloon0",
                                   "image",   kPluggedMemory, kPluggedMemoryDevice};

Error Invalid(std::string_view member, std::string_view reason) {
  return MakeError(Code::kInvalidArgument, "{}: {}", member, reason);
}

bool IsKnownMachine(const std::string& type) {
  return type == "q35" || type.starts_with("pc-q35-");
}

Status ValidatePath(std::string_view member, const std::string& path) {
  if (!path.starts_with('/')) return Invalid(member, fmt::format("'{}' is not an absolute path", path));
  return {};
}

Status ValidateCpus(const VmSpec& spec) {
  if (spec.vcpus == 0) return Invalid("vcpus", "must be at least 1");
  if (spec.vcpus > spec.max_vcpus) {
    return Invalid("vcpus", fmt::format("{} is more than max_vcpus, {}", spec.vcpus, spec.max_vcpus));
  }
  if (spec.max_vcpus > kMaxVcpus) {
    return Invalid("max_vcpus", fmt::format("{} is more than qemu's {}", spec.max_vcpus, kMaxVcpus));
  }
  return {};
}

Status ValidateMemory(const VmSpec& spec) {
  if (spec.memory_mib == 0) return Invalid("memory_mib", "must be at least 1");
  if (spec.max_memory_mib < spec.memory_mib) {
    return Invalid("max_memory_mib",
                   fmt::format("{} is less than memory_mib, {}", spec.max_memory_mib, spec.memory_mib));
  }
  if (spec.max_memory_mib == spec.memory_mib) return {};
  if (spec.hugepages || spec.prealloc_memory) {
    return Invalid("max_memory_mib", "memory that is set aside at the start cannot be plugged");
  }
  if ((spec.max_memory_mib - spec.memory_mib) % kMemoryUnitMib != 0) {
    return Invalid("max_memory_mib",
                   fmt::format("what can be plugged is no multiple of {} MiB", kMemoryUnitMib));
  }
  return {};
}

Status ValidateBoot(const VmSpec& spec) {
  TRY(ValidatePath("kernel", spec.kernel));
  if (spec.initrd.empty() == spec.image.empty()) {
    return Invalid("initrd", spec.initrd.empty() ? "neither an initrd nor an image is set"
                                                 : "an initrd and an image exclude each other");
  }
  return spec.initrd.empty() ? ValidatePath("image", spec.image) : ValidatePath("initrd", spec.initrd);
}

// Root ports of the machine: the free ones, and one below each network card, for a card on the root bus could
// not be unplugged. Cards for which there are not enough ports sit there none the less.
uint32_t CountPorts(const VmSpec& spec) {
  size_t count = spec.hotplug_ports;
  for (const DeviceSpec& device : spec.devices)
    count += std::holds_alternative<NetworkDevice>(device) ? 1 : 0;
  return static_cast<uint32_t>(std::min<size_t>(count, kMaxHotplugPorts));
}

Status ValidateDevices(const VmSpec& spec) {
  std::set<std::string> ids(std::begin(kOwnIds), std::end(kOwnIds));
  for (uint32_t port = 0; port < CountPorts(spec); ++port) ids.insert(fmt::format("{}{}", kPortPrefix, port));
  for (const DeviceSpec& device : spec.devices) {
    TRY(ValidateDevice(device));
    if (!ids.insert(DeviceId(device)).second) {
      return Invalid("devices", fmt::format("id '{}' is taken", DeviceId(device)));
    }
    if (std::holds_alternative<VirtioFsDevice>(device) && !spec.shared_memory) {
      return Invalid("shared_memory", fmt::format("device '{}' needs guest memory that its back end can map",
                                                  DeviceId(device)));
    }
  }
  return {};
}

Status ValidateSpec(const VmSpec& spec) {
  if (spec.id.empty()) return Invalid("id", "is empty");
  TRY(ValidatePath("vmm_path", spec.vmm_path));
  if (!IsKnownMachine(spec.machine_type)) {
    return Invalid("machine_type", fmt::format("'{}' is unknown (known: q35)", spec.machine_type));
  }
  if (spec.acceleration == Acceleration::kAuto)
    return Invalid("acceleration", "is not resolved to kvm or tcg");
  TRY(ValidateCpus(spec));
  TRY(ValidateMemory(spec));
  TRY(ValidateBoot(spec));
  if (spec.hotplug_ports > kMaxHotplugPorts) {
    return Invalid("hotplug_ports", fmt::format("{} is more than {}", spec.hotplug_ports, kMaxHotplugPorts));
  }
  return ValidateDevices(spec);
}

// A UUID that is the same for the same sandbox: RFC 9562 version 8, whose bits are the application's own.
std::string SandboxUuid(std::string_view id) {
  const auto fnv1a = [id](uint64_t hash) {
    for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
  };
  const uint64_t high = (fnv1a(0xcbf29ce484222325) & ~uint64_t{0xf000}) | 0x8000;
  const uint64_t low = (fnv1a(0x84222325cbf29ce4) & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xffff,
                     low >> 48, low & 0xffffffffffff);
}

class CommandLine {
 public:
  explicit CommandLine(const VmSpec& spec) : spec_(spec), kvm_(spec.acceleration == Acceleration::kKvm) {}

  Result<LaunchPlan> Build() {
    plan_.program = spec_.vmm_path;
    plan_.control_fd = kControlFd;
    plan_.console_fd = kConsoleFd;
    AddIdentity();
    AddMachine();
    AddCpu();
    AddMemory();
    AddMonitor();
    AddConsole();
    AddOwnDevices();
    AddDevices();
    TRY(AddBoot());
    if (!spec_.seccomp_sandbox.empty()) Add("-sandbox", spec_.seccomp_sandbox);
    return std::move(plan_);
  }

 private:
  void Add(std::string option) { plan_.args.push_back(std::move(option)); }
  void Add(std::string option, std::string value) {
    Add(std::move(option));
    Add(std::move(value));
  }
  void AddOptions(std::string option, const Properties& properties) {
    Add(std::move(option), FormatOptions(properties));
  }

  void AddIdentity() {
    AddOptions("-name", Properties{{"guest", "sandbox-" + spec_.id}, {"debug-threads", "on"}});
    Add("-uuid", SandboxUuid(spec_.id));
    // Nothing that is not named here: no default devices, no file in /etc/qemu, no display, no second boot.
    Add("-nodefaults");
    Add("-no-user-config");
    Add("-no-reboot");
    Add("-display", "none");
    Add("-vga", "none");
  }

  void AddMachine() {
    Properties machine = {{"type", spec_.machine_type}};
    // With a thread for each processor QEMU's emulator may miss that another one has changed the code that it
    // is translating. Linux changes its own while it runs, and panics then ("Oops: int3").
    AddOptions("-accel", kvm_               ? Properties{{"accel", "kvm"}}
                         : spec_.vcpus == 1 ? Properties{{"accel", "tcg"}}
                                            : Properties{{"accel", "tcg"}, {"thread", "single"}});
    // The APIC stays in the kernel, the legacy controllers leave it: less of KVM is open to the guest.
    if (kvm_) machine["kernel_irqchip"] = "split";
    // Chipset parts that a guest without BIOS services, keyboard and disks on SATA has no use for.
    for (const char* part : {"vmport", "smbus", "sata", "usb", "graphics", "i8042", "smm"})
      machine[part] = "off";
    // Under KVM the paravirtual clock serves; see KernelCommandLine for TCG.
    if (kvm_) machine["hpet"] = "off";
    machine["memory-backend"] = "ram";
    std::string text = FormatOptions(machine);
    if (!spec_.machine_accelerators.empty()) text += "," + spec_.machine_accelerators;
    Add("-machine", std::move(text));
    Add("-rtc", "base=utc,clock=host,driftfix=slew");
  }

  void AddCpu() {
    // The emulator goes byte by byte through rep stosb, by which Linux clears pages where the processor
    // promises that this is fast.
    std::string model = kvm_ ? "host" : "max,-erms";
    if (!spec_.cpu_features.empty()) model += "," + spec_.cpu_features;
    Add("-cpu", std::move(model));
    Add("-smp", fmt::format("cpus={},maxcpus={},sockets=1,cores={},threads=1", spec_.vcpus, spec_.max_vcpus,
                            spec_.max_vcpus));
  }

  void AddMemory() {
    std::string size = fmt::format("size={}M", spec_.memory_mib);
    if (CanPlugMemory()) size += fmt::format(",maxmem={}M", spec_.max_memory_mib);
    Add("-m", std::move(size));
    const bool memfd = spec_.shared_memory || spec_.hugepages;
    Properties ram = {{"qom-type", memfd ? "memory-backend-memfd" : "memory-backend-ram"},
                      {"id", "ram"},
                      {"size", fmt::format("{}M", spec_.memory_mib)}};
    if (memfd) ram["share"] = spec_.shared_memory;
    if (spec_.hugepages) ram["hugetlb"] = true;
    if (spec_.prealloc_memory) ram["prealloc"] = true;
    AddOptions("-object", ram);
    if (!CanPlugMemory()) return;
    Properties plugged = {{"qom-type", memfd ? "memory-backend-memfd" : "memory-backend-ram"},
                          {"id", kPluggedMemory},
                          {"size", fmt::format("{}M", spec_.max_memory_mib - spec_.memory_mib)},
                          {"reserve", false}};
    if (memfd) plugged["share"] = spec_.shared_memory;
    AddOptions("-object", plugged);
  }

  // By virtio-mem: it takes memory back, too, and costs a boot a fifth of what ten slots for DIMMs do.
  bool CanPlugMemory() const { return spec_.max_memory_mib > spec_.memory_mib; }

  void AddMonitor() {
    AddOptions("-chardev", Properties{{"backend", "socket"}, {"id", "control"}, {"fd", kControlFd}});
    AddOptions("-mon", Properties{{"chardev", "control"}, {"mode", "control"}});
  }

  void AddConsole() {
    AddOptions("-chardev", Properties{{"backend", "socket"}, {"id", "console"}, {"fd", kConsoleFd}});
    // Each port is a pair of queues that the guest sets up at boot, so there are no more than are wanted.
    uint32_t ports = 1 + spec_.hotplug_ports;
    for (const DeviceSpec& device : spec_.devices)
      ports += std::holds_alternative<SerialPortDevice>(device) ? 1 : 0;
    AddOptions("-device", Properties{{"driver", "virtio-serial-pci"},
                                     {"id", "serial0"},
                                     {"max_ports", ports},
                                     {"disable-legacy", "on"}});
    AddOptions(
        "-device",
        Properties{
            {"driver", "virtconsole"}, {"bus", kSerialBus}, {"id", "console0"}, {"chardev", "console"}});
  }

  void AddOwnDevices() {
    Properties entropy = {{"qom-type", "rng-builtin"}, {"id", "entropy"}};
    if (!spec_.entropy_source.empty()) {
      entropy = {{"qom-type", "rng-random"}, {"id", "entropy"}, {"filename", spec_.entropy_source}};
    }
    AddOptions("-object", entropy);
    AddOptions(
        "-device",
        Properties{
            {"driver", "virtio-rng-pci"}, {"id", "rng0"}, {"rng", "entropy"}, {"disable-legacy", "on"}});
    if (CanPlugMemory()) {
      AddOptions("-device", Properties{{"driver", "virtio-mem-pci"},
                                       {"id", kPluggedMemoryDevice},
                                       {"memdev", kPluggedMemory},
                                       {"requested-size", 0}});
    }
    if (spec_.free_page_reporting) {
      AddOptions("-device", Properties{{"driver", "virtio-balloon-pci"},
                                       {"id", "balloon0"},
                                       {"free-page-reporting", "on"},
                                       {"deflate-on-oom", "on"},
                                       {"disable-legacy", "on"}});
    }
    for (uint32_t port = 0; port < CountPorts(spec_); ++port) {
      AddOptions("-device", Properties{{"driver", "pcie-root-port"},
                                       {"id", fmt::format("{}{}", kPortPrefix, port)},
                                       {"chassis", port + 1},
                                       {"addr", fmt::format("{:#x}", kFirstPortSlot + port)}});
    }
  }

  void AddDevices() {
    int next_fd = kFirstDeviceFd;
    // First, so that the guest calls it /dev/vda whatever other disks there are.
    if (!spec_.image.empty())
      AddDevice(BlockDevice{.id = "image", .path = spec_.image, .read_only = true}, {});
    for (const DeviceSpec& device : spec_.devices) {
      std::vector<std::string> child_fds;
      for (const int fd : DeviceFds(device)) {
        plan_.inherited_fds[next_fd] = fd;
        child_fds.push_back(fmt::to_string(next_fd++));
      }
      AddDevice(device, child_fds);
    }
  }

  void AddDevice(const DeviceSpec& spec, const std::vector<std::string>& child_fds) {
    Device device = DescribeDevice(spec, child_fds);
    if (std::holds_alternative<NetworkDevice>(spec) && next_port_ < CountPorts(spec_) - spec_.hotplug_ports) {
      device.frontend["bus"] = fmt::format("{}{}", kPortPrefix, next_port_++);
    }
    switch (device.backend_kind) {
      case BackendKind::kNone:
        break;
      case BackendKind::kSocket:
        AddOptions("-chardev",
                   Properties{{"backend", "socket"}, {"id", device.backend_id}, {"fd", child_fds.front()}});
        break;
      case BackendKind::kBlock:
        Add("-blockdev", device.backend.dump());
        break;
      case BackendKind::kFsdev:
        AddOptions("-fsdev", device.backend);
        break;
      case BackendKind::kNetdev:
        AddOptions("-netdev", device.backend);
        break;
    }
    AddOptions("-device", device.frontend);
  }

  Status AddBoot() {
    Add("-bios", spec_.firmware.empty() ? kDefaultFirmware : spec_.firmware);
    Add("-kernel", spec_.kernel);
    if (!spec_.initrd.empty()) Add("-initrd", spec_.initrd);
    std::string parameters = KernelCommandLine();
    if (parameters.size() > kMaxKernelCommandLine) {
      return Invalid("kernel_parameters",
                     fmt::format("the command line is {} bytes long, the kernel takes {}", parameters.size(),
                                 kMaxKernelCommandLine));
    }
    Add("-append", std::move(parameters));
    return {};
  }

  std::string EmulationParameters() const {
    // Under TCG the guest measures the frequency of its TSC against the wall clock of a busy host. Its time
    // then runs at any speed, many times too fast or too slow; the HPET's frequency is a constant.
    std::string line = "clocksource=hpet tsc=unstable ";
    // To calibrate the timer of a local APIC takes 0.1 s; a single processor is as well served by the HPET.
    if (spec_.max_vcpus == 1) line += "nolapic_timer pmtmr=0 ";
    // virtiofsd writes into the guest's memory past the emulator, which keeps what it has translated of a
    // page until the guest itself writes there. So the guest clears each page before it can be read into.
    if (spec_.shared_memory) line += "init_on_alloc=1 ";
    return line;
  }

  // The driver's words come first: where the kernel sees a parameter twice, the last one wins.
  std::string KernelCommandLine() const {
    // pmtmr=0: no check of the timer of ACPI, which nobody reads the time from; each reading is an exit.
    std::string line = kvm_ ? "tsc=reliable pmtmr=0 " : EmulationParameters();
    line +=
        // The test would find an interrupt missing when the host is busy.
        "no_timer_check "
        // Creating namespaces and cgroups waits for RCU grace periods; expedited ones take microseconds.
        "rcupdate.rcu_expedited=1 "
        // No patching of lock prefixes when the number of processors changes; no self tests of ciphers.
        "noreplace-smp cryptomgr.notests "
        // There is no keyboard controller to pulse; a triple fault ends a VM at once.
        "reboot=t "
        "pci=lastbus=0 net.ifnames=0 console=hvc0";
    if (!spec_.image.empty()) line += fmt::format(" root=/dev/vda1 rootfstype={} ro", spec_.image_type);
    for (const std::string& parameter : spec_.kernel_parameters) line += " " + parameter;
    return line;
  }

  const VmSpec& spec_;
  const bool kvm_;
  uint32_t next_port_ = 0;  // for a network card
  LaunchPlan plan_;
};

}  // namespace

Capabilities QemuDriver::capabilities() const {
  return {.serial_channel = true, .vhost_vsock = true};
}

Result<LaunchPlan> QemuDriver::Plan(const VmSpec& spec) const {
  TRY(ValidateSpec(spec));
  return CommandLine(spec).Build();
}

}  // namespace kata::hypervisor::qemu
