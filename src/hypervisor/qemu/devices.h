// A DeviceSpec in QEMU's terms: a back end and a front end, worded once for the command line and for QMP.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/vm_spec.h"

namespace kata::hypervisor::qemu {

// Keeps the order of members: a command line is read by people and compared with golden files.
using Properties = nlohmann::ordered_json;

// The bus of the one virtio-serial device, where the console and the serial ports sit.
inline constexpr char kSerialBus[] = "serial0.0";
// Root ports, of network cards and free ones for hot-plug, are "port0", "port1" ...
inline constexpr char kPortPrefix[] = "port";
// The virtio-mem device through which memory is plugged, and what backs it.
inline constexpr char kPluggedMemoryDevice[] = "memory0";
inline constexpr char kPluggedMemory[] = "plugged-ram";
// pcie.0 has 32 slots; 0 and 31 are the host bridge and the chipset, the rest is shared with the
// cold-plugged.
inline constexpr uint32_t kMaxHotplugPorts = 16;
// The slot of "port0" on pcie.0; the others follow. Fixed, for the guest is told where to look for a device;
// and high, out of the way of the devices that QEMU places itself.
inline constexpr uint32_t kFirstPortSlot = 0x0f;

enum class BackendKind { kNone, kSocket, kBlock, kFsdev, kNetdev };

struct Device {
  BackendKind backend_kind = BackendKind::kNone;
  std::string backend_id;
  // kBlock: arguments of blockdev-add. kNetdev: of netdev_add. kFsdev: those of -fsdev. Else null.
  Properties backend;
  // Arguments of device_add; the first is "driver".
  Properties frontend;
  // False for a port on the virtio-serial bus.
  bool on_pci = true;
};

const std::string& DeviceId(const DeviceSpec& spec);
// The descriptors that the VMM must be given for this device (borrowed).
std::vector<int> DeviceFds(const DeviceSpec& spec);

// `fd_references`: how QEMU knows the DeviceFds, in their order: numbers on the command line, names given by
// getfd in QMP.
Device DescribeDevice(const DeviceSpec& spec, const std::vector<std::string>& fd_references);

// kInvalidArgument naming the device and its member where QEMU would refuse `spec` or misread it.
Status ValidateDevice(const DeviceSpec& spec);

// QEMU's rule for ids: a letter, then letters, digits, '-', '.', '_'.
bool IsWellFormedId(std::string_view id);

// "driver,key=value,..." with commas in values doubled: the form of -device, -object, -chardev and their
// like.
std::string FormatOptions(const Properties& properties);

}  // namespace kata::hypervisor::qemu
