// CPUs and memory that the host has plugged in while the guest runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"

namespace kata::agent {

// Brings offline CPUs online until `count` came up, waiting for those that the kernel has not found yet;
// kDeadlineExceeded when fewer appear. `sys_root` is "/sys" but for tests. Blocks; for workers.
Status OnlineCpus(uint32_t count, Deadline deadline, const std::string& sys_root = "/sys");

// Brings all memory blocks online that are not.
Status OnlineMemory(const std::string& sys_root = "/sys");

// Tells the kernel of memory at `addresses`, each of one block's size. kUnimplemented where it finds memory
// itself.
Status ProbeMemory(const std::vector<uint64_t>& addresses, const std::string& sys_root = "/sys");

}  // namespace kata::agent
