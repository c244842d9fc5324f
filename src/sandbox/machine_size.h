// How large a virtual machine is made: by the limits of the containers that are in it.
#pragma once

#include <cstdint>
#include <span>

#include "config/config.h"
#include "oci/spec.h"

namespace kata::sandbox {

struct MachineSize {
  uint32_t vcpus = 1;
  uint64_t memory_mib = 0;
  bool operator==(const MachineSize&) const = default;
};

// Of all `containers` (their linux.resources) together: the sum of their limits and, of memory, what the
// guest needs for itself (overhead_memory). Processors are limited by a quota of time, by the set of those of
// the host that a container may use, or by the smaller of both. Those without a limit share the
// configuration's default, which comes on top. Never more than the configuration's and the host's maximum.
MachineSize SizeMachine(const config::HypervisorConfig& config, std::span<const oci::Resources> containers);

}  // namespace kata::sandbox
