// Lists of processors as the kernel writes them: "0-3,7" (cpuset(7), list format).
#pragma once

#include <sched.h>

#include <string>

#include "base/result.h"

namespace kata::linux {

// kInvalidArgument for what is no such list, an empty one, and numbers above what sched_setaffinity(2) takes.
Result<cpu_set_t> ParseCpuList(const std::string& list);

}  // namespace kata::linux
