#include "agent/device/devices.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "protocol/constants.h"

namespace kata::agent {
namespace {

// A device's type and the host's numbers.
using HostNumbers = std::tuple<std::string, int64_t, int64_t>;
using NumberMap = std::map<HostNumbers, std::pair<int64_t, int64_t>>;
// PCI addresses of the host -> of the guest.
using AddressMap = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view kBlockTypes[] = {protocol::kDeviceBlock, protocol::kDeviceMmioBlock,
                                            protocol::kDeviceScsi, protocol::kDeviceNvdimm};

oci::Device* FindSpecDevice(oci::Spec& spec, const std::string& path) {
  if (!spec.linux) return nullptr;
  for (oci::Device& device : spec.linux->devices) {
    if (device.path == path) return &device;
  }
  return nullptr;
}

// Gives the container's entry for the device its numbers, and notes what they were.
Status Renumber(const grpc::Device& device, const BlockDevice& found, oci::Spec& spec, NumberMap& numbers) {
  if (device.container_path().empty()) return {};
  oci::Device* const entry = FindSpecDevice(spec, device.container_path());
  if (entry == nullptr) {
    return MakeError(Code::kInvalidArgument, "the specification has no device '{}'", device.container_path());
  }
  numbers[{entry->type, entry->major, entry->minor}] = {found.major, found.minor};
  entry->type = "b";
  entry->major = found.major;
  entry->minor = found.minor;
  return {};
}

Status AddPciAddresses(const grpc::Device& device, const DeviceFinder& finder, std::chrono::seconds timeout,
                       AddressMap& addresses) {
  for (const std::string& option : device.options()) {
    const size_t equals = option.find('=');
    if (equals == std::string::npos) {
      return MakeError(Code::kInvalidArgument, "option '{}' is not '<host address>=<guest path>'", option);
    }
    addresses[option.substr(0, equals)] =
        TRY(finder.PciDevice(option.substr(equals + 1), Deadline::After(timeout)));
  }
  return {};
}

// "PCIDEVICE_X=0000:81:00.0,0000:82:00.0": each address that the host told becomes the guest's.
void RewriteEnvironment(const AddressMap& addresses, std::vector<std::string>& environment) {
  for (std::string& variable : environment) {
    const size_t equals = variable.find('=');
    if (!variable.starts_with("PCIDEVICE_") || equals == std::string::npos) continue;
    std::string text = variable.substr(0, equals + 1);
    std::string_view rest = std::string_view(variable).substr(equals + 1);
    while (true) {
      const size_t comma = rest.find(',');
      const std::string_view address = rest.substr(0, comma);
      const auto it = addresses.find(address);
      text += it == addresses.end() ? address : std::string_view(it->second);
      if (comma == std::string_view::npos) break;
      text += ',';
      rest.remove_prefix(comma + 1);
    }
    variable = std::move(text);
  }
}

void RewriteRules(const NumberMap& numbers, oci::Spec& spec) {
  if (!spec.linux || !spec.linux->resources) return;
  for (oci::DeviceRule& rule : spec.linux->resources->devices) {
    if (!rule.major || !rule.minor) continue;
    const auto it = numbers.find({rule.type, *rule.major, *rule.minor});
    if (it == numbers.end()) continue;
    rule.type = "b";
    rule.major = it->second.first;
    rule.minor = it->second.second;
  }
}

Status Apply(const grpc::Device& device, const DeviceFinder& finder, std::chrono::seconds timeout,
             oci::Spec& spec, NumberMap& numbers, AddressMap& addresses) {
  const std::string& type = device.type();
  if (type == protocol::kDeviceVfioPciGuestKernel) return AddPciAddresses(device, finder, timeout, addresses);
  // By the address on its bus, or by the name that the host foresees.
  const bool by_node = type == protocol::kDeviceMmioBlock || type == protocol::kDeviceNvdimm;
  const BlockDevice found =
      TRY(FindBlockDevice(finder, type, by_node ? device.vm_path() : device.id(), Deadline::After(timeout)));
  return Renumber(device, found, spec, numbers);
}

}  // namespace

std::vector<std::string_view> DeviceHandlerNames() {
  std::vector<std::string_view> names(std::begin(kBlockTypes), std::end(kBlockTypes));
  names.push_back(protocol::kDeviceVfioPciGuestKernel);
  return names;
}

Result<BlockDevice> FindBlockDevice(const DeviceFinder& finder, std::string_view kind,
                                    const std::string& address, Deadline deadline) {
  if (kind == protocol::kDeviceBlock) {
    return address.starts_with('/') ? finder.BlockByNode(address, deadline)
                                    : finder.BlockByPciPath(address, deadline);
  }
  if (kind == protocol::kDeviceScsi) return finder.BlockByScsiAddress(address, deadline);
  if (kind == protocol::kDeviceMmioBlock || kind == protocol::kDeviceNvdimm) {
    return finder.BlockByNode(address, deadline);
  }
  return MakeError(Code::kUnimplemented, "devices of type '{}' are not supported", kind);
}

Status ApplyDevices(const google::protobuf::RepeatedPtrField<grpc::Device>& devices,
                    const DeviceFinder& finder, std::chrono::seconds hotplug_timeout, oci::Spec& spec) {
  NumberMap numbers;
  AddressMap addresses;
  for (const grpc::Device& device : devices) {
    TRY_CTX(Apply(device, finder, hotplug_timeout, spec, numbers, addresses), "device '{}' of type '{}'",
            device.container_path().empty() ? device.id() : device.container_path(), device.type());
  }
  // After all devices: a host's number may be equal to the guest's of another device.
  RewriteRules(numbers, spec);
  if (spec.process) RewriteEnvironment(addresses, spec.process->env);
  return {};
}

}  // namespace kata::agent
