// The output of ps(1), reduced to some processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::cli {

// The title line of `ps_output` and the lines of `pids`, found by the column PID. kInvalidArgument when there
// is no such column.
Result<std::string> SelectProcesses(std::string_view ps_output, const std::vector<pid_t>& pids);

}  // namespace kata::cli
