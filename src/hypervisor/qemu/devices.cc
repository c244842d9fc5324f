#include "hypervisor/qemu/devices.h"

#include <type_traits>

#include "linux/netlink/ip_address.h"

namespace kata::hypervisor::qemu {
namespace {

// include/standard-headers/linux/virtio_fs.h: char tag[36], not terminated.
constexpr size_t kMaxFsTag = 36;
// hw/9pfs: MAX_TAG_LEN 32 with the terminating NUL.
constexpr size_t kMax9pTag = 31;
// The size of a virtqueue is a power of two and at most VIRTQUEUE_MAX_SIZE.
constexpr uint32_t kMaxQueueSize = 1024;
// CIDs 0 to 2 are the hypervisor, loopback and the host (vsock(7)); the highest means "any".
constexpr uint32_t kFirstGuestCid = 3;
constexpr uint32_t kAnyCid = 0xffffffff;
constexpr size_t kMacBytes = 6;

template <typename T>
constexpr bool kUnhandled = false;

bool IsPowerOfTwo(uint32_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

Error InvalidDevice(const std::string& id, std::string_view member, std::string_view reason) {
  return MakeError(Code::kInvalidArgument, "device '{}': {}: {}", id, member, reason);
}

Status ValidateTag(const std::string& id, const std::string& tag, size_t limit) {
  if (tag.empty() || tag.size() > limit) {
    return InvalidDevice(id, "tag", fmt::format("'{}' is not 1 to {} bytes long", tag, limit));
  }
  return {};
}

Status ValidatePath(const std::string& id, const std::string& path) {
  if (!path.starts_with('/'))
    return InvalidDevice(id, "path", fmt::format("'{}' is not an absolute path", path));
  return {};
}

Status ValidateFd(const std::string& id, std::string_view member, int fd) {
  if (fd < 0) return InvalidDevice(id, member, "is not open");
  return {};
}

Status Validate(const VirtioFsDevice& device) {
  TRY(ValidateFd(device.id, "socket_fd", device.socket_fd));
  TRY(ValidateTag(device.id, device.tag, kMaxFsTag));
  if (!IsPowerOfTwo(device.queue_size) || device.queue_size > kMaxQueueSize) {
    return InvalidDevice(device.id, "queue_size",
                         fmt::format("{} is not a power of two up to {}", device.queue_size, kMaxQueueSize));
  }
  if (device.cache_size_mib != 0) {
    return InvalidDevice(device.id, "cache_size_mib",
                         "qemu's vhost-user-fs has no shared cache window (DAX)");
  }
  return {};
}

Status Validate(const Virtio9pDevice& device) {
  TRY(ValidateTag(device.id, device.tag, kMax9pTag));
  return ValidatePath(device.id, device.path);
}

Status Validate(const BlockDevice& device) {
  return ValidatePath(device.id, device.path);
}

Status Validate(const SerialPortDevice& device) {
  TRY(ValidateFd(device.id, "socket_fd", device.socket_fd));
  if (device.name.empty()) return InvalidDevice(device.id, "name", "is empty");
  return {};
}

Status Validate(const VsockDevice& device) {
  TRY(ValidateFd(device.id, "vhost_fd", device.vhost_fd));
  if (device.guest_cid < kFirstGuestCid || device.guest_cid == kAnyCid) {
    return InvalidDevice(device.id, "guest_cid", fmt::format("{} is reserved", device.guest_cid));
  }
  return {};
}

Status Validate(const NetworkDevice& device) {
  const Result<std::string> address = linux::ParseHardwareAddress(device.mac);
  if (!address || address->size() != kMacBytes) {
    return InvalidDevice(device.id, "mac", fmt::format("'{}' is no Ethernet address", device.mac));
  }
  if (device.tap_fds.empty()) return InvalidDevice(device.id, "tap_fds", "is empty");
  for (const int fd : device.tap_fds) TRY(ValidateFd(device.id, "tap_fds", fd));
  for (const int fd : device.vhost_fds) TRY(ValidateFd(device.id, "vhost_fds", fd));
  if (!device.vhost_fds.empty() && device.vhost_fds.size() != device.tap_fds.size()) {
    return InvalidDevice(device.id, "vhost_fds",
                         fmt::format("{} for {} queues", device.vhost_fds.size(), device.tap_fds.size()));
  }
  return {};
}

Device Describe(const VirtioFsDevice& spec, const std::vector<std::string>& /*fd_references*/) {
  Device device;
  device.backend_kind = BackendKind::kSocket;
  device.backend_id = spec.id + ".socket";
  device.frontend = {{"driver", "vhost-user-fs-pci"},
                     {"id", spec.id},
                     {"chardev", device.backend_id},
                     {"tag", spec.tag},
                     {"queue-size", spec.queue_size}};
  return device;
}

Device Describe(const Virtio9pDevice& spec, const std::vector<std::string>& /*fd_references*/) {
  Device device;
  device.backend_kind = BackendKind::kFsdev;
  device.backend_id = spec.id + ".fsdev";
  // security_model=none passes ownership through where the VMM may set it, and does not fail where it may
  // not. Without remap files of two host file systems below one share can show the same inode number to the
  // guest.
  device.backend = {{"driver", "local"},
                    {"id", device.backend_id},
                    {"path", spec.path},
                    {"security_model", "none"},
                    {"multidevs", "remap"}};
  device.frontend = {{"driver", "virtio-9p-pci"},
                     {"id", spec.id},
                     {"fsdev", device.backend_id},
                     {"mount_tag", spec.tag},
                     {"disable-legacy", "on"}};
  return device;
}

Device Describe(const BlockDevice& spec, const std::vector<std::string>& /*fd_references*/) {
  Device device;
  device.backend_kind = BackendKind::kBlock;
  device.backend_id = spec.id + ".disk";
  device.backend = {{"driver", "raw"},
                    {"node-name", device.backend_id},
                    {"read-only", spec.read_only},
                    {"cache", {{"direct", false}, {"no-flush", false}}},
                    {"file",
                     // Each refuses what the other is for.
                     {{"driver", spec.is_device ? "host_device" : "file"},
                      {"filename", spec.path},
                      {"read-only", spec.read_only},
                      {"cache", {{"direct", false}, {"no-flush", false}}}}}};
  // Errors are the guest's to handle. Left to itself QEMU stops the machine where a disk of the host is full.
  device.frontend = {{"driver", "virtio-blk-pci"}, {"id", spec.id},      {"drive", device.backend_id},
                     {"werror", "report"},         {"rerror", "report"}, {"disable-legacy", "on"}};
  return device;
}

Device Describe(const SerialPortDevice& spec, const std::vector<std::string>& /*fd_references*/) {
  Device device;
  device.backend_kind = BackendKind::kSocket;
  device.backend_id = spec.id + ".socket";
  device.on_pci = false;
  device.frontend = {{"driver", "virtserialport"},
                     {"bus", kSerialBus},
                     {"id", spec.id},
                     {"chardev", device.backend_id},
                     {"name", spec.name}};
  return device;
}

Device Describe(const VsockDevice& spec, const std::vector<std::string>& fd_references) {
  Device device;
  device.frontend = {{"driver", "vhost-vsock-pci"},
                     {"id", spec.id},
                     {"guest-cid", spec.guest_cid},
                     {"vhostfd", fd_references.front()},
                     {"disable-legacy", "on"}};
  return device;
}

Device Describe(const NetworkDevice& spec, const std::vector<std::string>& fd_references) {
  const size_t queues = spec.tap_fds.size();
  const auto taps = fd_references.begin();
  Device device;
  device.backend_kind = BackendKind::kNetdev;
  device.backend_id = spec.id + ".tap";
  device.backend = {{"type", "tap"},
                    {"id", device.backend_id},
                    {"fds", fmt::format("{}", fmt::join(taps, taps + static_cast<ptrdiff_t>(queues), ":"))}};
  if (!spec.vhost_fds.empty()) {
    device.backend["vhost"] = true;
    device.backend["vhostfds"] =
        fmt::format("{}", fmt::join(taps + static_cast<ptrdiff_t>(queues), fd_references.end(), ":"));
  }
  device.frontend = {
      {"driver", "virtio-net-pci"},
      {"id", spec.id},
      {"netdev", device.backend_id},
      {"mac", spec.mac},
      // Nobody boots from it.
      {"romfile", ""},
      // A link that nobody ever cuts. With a state that can be asked for, the guest's kernel takes the
      // interface for down until it sees to it, up to a second after the container has begun.
      {"status", false},
      {"disable-legacy", "on"}};
  if (queues > 1) {
    device.frontend["mq"] = true;
    // An interrupt for each queue of every pair, one for changes of the configuration, one for the control
    // queue.
    device.frontend["vectors"] = 2 * queues + 2;
  }
  return device;
}

std::string FormatValue(const Properties& value) {
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  if (!value.is_string()) return value.dump();
  std::string escaped;
  for (const char c : value.get_ref<const std::string&>()) {
    escaped += c;
    if (c == ',') escaped += ',';
  }
  return escaped;
}

}  // namespace

const std::string& DeviceId(const DeviceSpec& spec) {
  return std::visit([](const auto& device) -> const std::string& { return device.id; }, spec);
}

std::vector<int> DeviceFds(const DeviceSpec& spec) {
  return std::visit(
      [](const auto& device) -> std::vector<int> {
        using T = std::decay_t<decltype(device)>;
        if constexpr (std::is_same_v<T, VirtioFsDevice> || std::is_same_v<T, SerialPortDevice>) {
          return {device.socket_fd};
        } else if constexpr (std::is_same_v<T, VsockDevice>) {
          return {device.vhost_fd};
        } else if constexpr (std::is_same_v<T, NetworkDevice>) {
          std::vector<int> fds = device.tap_fds;
          fds.insert(fds.end(), device.vhost_fds.begin(), device.vhost_fds.end());
          return fds;
        } else if constexpr (std::is_same_v<T, Virtio9pDevice> || std::is_same_v<T, BlockDevice>) {
          return {};
        } else {
          static_assert(kUnhandled<T>, "say which descriptors this kind of device needs");
        }
      },
      spec);
}

Device DescribeDevice(const DeviceSpec& spec, const std::vector<std::string>& fd_references) {
  return std::visit([&](const auto& device) { return Describe(device, fd_references); }, spec);
}

Status ValidateDevice(const DeviceSpec& spec) {
  const std::string& id = DeviceId(spec);
  if (!IsWellFormedId(id)) {
    return MakeError(Code::kInvalidArgument,
                     "device '{}': id: must be a letter followed by letters, digits, '-', '.' or '_'", id);
  }
  return std::visit([](const auto& device) { return Validate(device); }, spec);
}

bool IsWellFormedId(std::string_view id) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (id.empty() || !is_letter(id.front())) return false;
  for (const char c : id) {
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

std::string FormatOptions(const Properties& properties) {
  std::string text;
  for (const auto& [key, value] : properties.items()) {
    if (text.empty()) {
      text = FormatValue(value);
    } else {
      text += fmt::format(",{}={}", key, FormatValue(value));
    }
  }
  return text;
}

}  // namespace kata::hypervisor::qemu
