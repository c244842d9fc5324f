// Kernel modules that the host wants in the guest.
#pragma once

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Success if the module is there or built into the kernel; else loads it by the guest's modprobe. Where there
// is none, kFailedPrecondition with the module's name. Blocks; for workers.
Status ProvideKernelModule(const grpc::KernelModule& module);

}  // namespace kata::agent
