// Lists of processors as the kernel writes and reads them: "0-3,7" and "0-31:2/8", the first two of each
// eight (cpuset(7), list format; Documentation/admin-guide/kernel-parameters.rst, "cpu lists").
#pragma once

#include <bitset>
#include <string>

#include "base/result.h"

namespace kata::linux {

// As many as the largest kernel knows (CONFIG_NR_CPUS).
using CpuSet = std::bitset<8192>;

// kInvalidArgument for what is no such list, an empty one, and numbers that are too high.
Result<CpuSet> ParseCpuList(const std::string& list);

}  // namespace kata::linux
