// Devices that the host has plugged in for a container (Device messages), and what they change in its
// specification.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agent/device/finder.h"
#include "base/result.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Device.type values with a handler, for AgentDetails.device_handlers.
std::vector<std::string_view> DeviceHandlerNames();

// The block device of a Storage or Device: `kind` is the driver's or type's name, `address` what it means by
// that. kUnimplemented for a kind that is no block device's.
Result<BlockDevice> FindBlockDevice(const DeviceFinder& finder, std::string_view kind,
                                    const std::string& address, Deadline deadline);

// Waits for all `devices`, each up to `hotplug_timeout`, and puts the guest's numbers in place of the host's
// into linux.devices and the device rules of `spec`, the guest's PCI addresses into the environment
// (PCIDEVICE_...). Blocks; for workers.
Status ApplyDevices(const google::protobuf::RepeatedPtrField<grpc::Device>& devices,
                    const DeviceFinder& finder, std::chrono::seconds hotplug_timeout, oci::Spec& spec);

}  // namespace kata::agent
