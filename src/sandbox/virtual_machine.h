// VirtualMachine: the Machine that runs a real VMM, with virtiofsd where the configuration asks for it.
#pragma once

#include <memory>

#include "sandbox/machine.h"

namespace kata::sandbox {

// A MachineFactory. kUnimplemented for a hypervisor that this build does not have.
Result<std::unique_ptr<Machine>> MakeVirtualMachine(EventLoop& loop, MachineOptions options);

}  // namespace kata::sandbox
