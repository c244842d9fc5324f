// How large a virtual machine is made: by the limits of the container that it is for.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "oci/spec.h"

namespace kata::sandbox {

struct MachineSize {
  uint32_t vcpus = 1;
  uint64_t memory_mib = 0;
};

// With a limit, what the limit asks for and, of memory, what the guest needs for itself (overhead_memory);
// without, the configuration's defaults. Never more than the configuration's and the host's maximum.
MachineSize SizeMachine(const config::HypervisorConfig& config, const oci::Spec& spec);

}  // namespace kata::sandbox
