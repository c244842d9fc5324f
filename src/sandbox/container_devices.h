// Which devices of config.json the guest has itself, and which of the host's go into the virtual machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::sandbox {

// A block device of the host that becomes a disk of the virtual machine.
struct HostDisk {
  std::string node;  // below /dev, on the host
  bool read_only = false;
};

// As many as the machine has ports for, besides those for networks that come later.
inline constexpr size_t kMaxDisks = 12;

struct DevicePlan {
  struct Disk {
    std::string container_path;
    HostDisk host;
  };
  std::vector<oci::Device> devices;  // linux.devices for the guest; disks still have the host's numbers
  std::vector<Disk> disks;
};

using DiskProbe = std::function<Result<HostDisk>(int64_t major, int64_t minor)>;

// Character devices that mean the same in every kernel are the guest's own. Others of the host cannot be
// passed: an error that names the device, as is the first disk that is too many; but for a container that may
// use all devices. Engines give such a one (--privileged) all nodes of the host; it gets the guest's.
Result<DevicePlan> PlanDevices(const oci::Linux& linux, const DiskProbe& probe);

// By the host's /sys and /dev.
Result<HostDisk> FindHostDisk(int64_t major, int64_t minor);

}  // namespace kata::sandbox
