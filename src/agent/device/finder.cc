#include "agent/device/finder.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <vector>

#include "agent/device/pci_path.h"
#include "base/file.h"
#include "base/log.h"
#include "linux/netlink/events.h"

namespace kata::agent {
namespace {

constexpr std::string_view kDevPrefix = "/dev/";

// Entries of a directory that may not be there yet.
Result<std::vector<std::string>> ListIfThere(const std::string& path) {
  Result<std::vector<std::string>> names = ListDirectory(path);
  if (!names && names.error().code() == Code::kNotFound) return std::vector<std::string>();
  return names;
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Repeats `look` until it has found a device.
Result<BlockDevice> AwaitBlock(const std::function<Result<BlockDevice>()>& look, Deadline deadline,
                               std::string_view what) {
  BlockDevice found;
  const bool there = TRY(AwaitDevice(
      [&]() -> Result<bool> {
        found = TRY(look());
        return !found.node.empty();
      },
      deadline));
  if (!there) return MakeError(Code::kDeadlineExceeded, "block device '{}' did not appear", what);
  return found;
}

}  // namespace

Result<bool> AwaitDevice(const std::function<Result<bool>()>& look, Deadline deadline) {
  const UniqueFd events = TRY(linux::OpenDeviceEvents());
  while (true) {
    if (TRY(look())) return true;
    // Events of other devices may come without end.
    if (deadline.Passed()) return false;
    const Status event = WaitFd(events.get(), POLLIN, deadline, "device");
    if (!event && event.error().code() == Code::kDeadlineExceeded) return false;
    TRY(event);
    linux::DrainEvents(events.get());
  }
}

Result<BlockDevice> DeviceFinder::BlockNamed(const std::string& name) const {
  BlockDevice device;
  const Result<std::string> text = ReadFile(fmt::format("{}/class/block/{}/dev", sys_root_, name));
  if (!text) {
    if (text.error().code() == Code::kNotFound) return device;
    return text.error();
  }
  const char* const end = text->data() + text->size();
  const auto [colon, error] = std::from_chars(text->data(), end, device.major);
  if (error != std::errc() || colon == end || *colon != ':' ||
      std::from_chars(colon + 1, end, device.minor).ec != std::errc()) {
    return MakeError(Code::kInternal, "block device '{}' has the number '{}'", name, *text);
  }
  // The kernel writes '!' where a name has '/'.
  std::string node_name = name;
  std::replace(node_name.begin(), node_name.end(), '!', '/');
  // A new disk stands in sysfs before it has a node (ENOENT) and before it can be opened (ENXIO); its event
  // comes after both.
  const Result<UniqueFd> node = Open(fmt::format("{}/{}", dev_root_, node_name), O_RDONLY | O_NONBLOCK);
  const int error_number = node ? 0 : node.error().sys_errno();
  if (error_number != ENOENT && error_number != ENXIO) device.node = std::string(kDevPrefix) + node_name;
  return device;
}

Result<BlockDevice> DeviceFinder::BlockIn(const std::string& directory) const {
  const std::vector<std::string> names = TRY(ListIfThere(directory));
  return names.empty() ? BlockDevice() : BlockNamed(names.front());
}

Result<BlockDevice> DeviceFinder::BlockByPciPath(const std::string& path, Deadline deadline) const {
  const PciPath parsed = TRY(PciPath::Parse(path));
  const auto look = [&]() -> Result<BlockDevice> {
    const std::optional<std::string> directory = TRY(ResolvePciPath(sys_root_, parsed));
    if (!directory) return BlockDevice();
    for (const std::string& name : TRY(ListIfThere(*directory))) {
      if (name.starts_with("virtio")) return BlockIn(fmt::format("{}/{}/block", *directory, name));
    }
    return BlockDevice();
  };
  return AwaitBlock(look, deadline, path);
}

void DeviceFinder::ScanScsi(const std::string& id, const std::string& lun) const {
  const std::string hosts = sys_root_ + "/class/scsi_host";
  for (const std::string& host : ListDirectory(hosts).value_or(std::vector<std::string>())) {
    const Status status = WriteKnob(fmt::format("{}/{}/scan", hosts, host), fmt::format("0 {} {}", id, lun));
    // Another adapter may have the device.
    if (!status) log::Debug("scan SCSI host", {{"host", host}, {"error", status.error().message()}});
  }
}

Result<BlockDevice> DeviceFinder::BlockByScsiAddress(const std::string& address, Deadline deadline) const {
  const size_t colon = std::min(address.find(':'), address.size());
  const std::string id = address.substr(0, colon);
  const std::string lun = colon < address.size() ? address.substr(colon + 1) : std::string();
  if (!IsNumber(id) || !IsNumber(lun)) {
    return MakeError(Code::kInvalidArgument, "SCSI address '{}' is not '<id>:<lun>'", address);
  }
  // Devices are named host:channel:id:lun; virtio-scsi has channel 0 only.
  const std::string suffix = fmt::format(":0:{}:{}", id, lun);
  const std::string devices = sys_root_ + "/class/scsi_device";
  const auto find = [&]() -> Result<BlockDevice> {
    for (const std::string& name : TRY(ListIfThere(devices))) {
      if (name.ends_with(suffix)) return BlockIn(fmt::format("{}/{}/device/block", devices, name));
    }
    return BlockDevice();
  };
  bool scanned = false;
  const auto look = [&]() -> Result<BlockDevice> {
    BlockDevice device = TRY(find());
    if (!device.node.empty() || scanned) return device;
    // Once, after the listening for events has begun.
    scanned = true;
    ScanScsi(id, lun);
    return find();
  };
  return AwaitBlock(look, deadline, address);
}

Result<BlockDevice> DeviceFinder::BlockByNode(const std::string& node, Deadline deadline) const {
  std::string name = node.starts_with(kDevPrefix) ? node.substr(kDevPrefix.size()) : std::string();
  if (name.empty() || name[0] == '.' || name[0] == '/' || ("/" + name + "/").contains("/../")) {
    return MakeError(Code::kInvalidArgument, "'{}' is not a device node below /dev", node);
  }
  std::replace(name.begin(), name.end(), '/', '!');
  return AwaitBlock([&] { return BlockNamed(name); }, deadline, node);
}

Result<std::string> DeviceFinder::PciDevice(const std::string& path, Deadline deadline) const {
  const PciPath parsed = TRY(PciPath::Parse(path));
  std::optional<std::string> directory;
  const bool there = TRY(AwaitDevice(
      [&]() -> Result<bool> {
        directory = TRY(ResolvePciPath(sys_root_, parsed));
        return directory.has_value();
      },
      deadline));
  if (!there) return MakeError(Code::kDeadlineExceeded, "PCI device '{}' did not appear", path);
  return directory->substr(directory->rfind('/') + 1);
}

}  // namespace kata::agent
