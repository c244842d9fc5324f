// Weights of cgroup version 1, in which the OCI specification speaks, as those of version 2.
#pragma once

#include <cstdint>

namespace kata::linux {

// CPU shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100), all three mapped onto each
// other.
uint64_t CpuWeightFromShares(uint64_t shares);
// Block I/O weight (10 to 1000) to io.weight (1 to 10000).
uint64_t IoWeightFromBlkio(uint64_t weight);

}  // namespace kata::linux
