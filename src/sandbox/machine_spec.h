// The VmSpec of a sandbox: what its configuration means for the virtual machine.
#pragma once

#include <string>
#include <vector>

#include "cgroup/limits.h"
#include "config/config.h"
#include "hypervisor/vm_spec.h"
#include "sandbox/machine_size.h"

namespace kata::sandbox {

// Everything but the devices. `channel_parameters`: of the AgentChannel. The user's own kernel parameters
// come last, where they win.
hypervisor::VmSpec MakeVmSpec(const config::Config& config, const std::string& sandbox_id, MachineSize size,
                              const std::vector<std::string>& channel_parameters);

// Whether the machine's processors are emulated by software on this host.
bool EmulatesProcessors(const config::Config& config);

// What such a machine takes of the host besides what the container in it uses.
cgroup::Overhead MachineOverhead(const config::Config& config, MachineSize size);

}  // namespace kata::sandbox
