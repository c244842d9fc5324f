// kata-runtime from its arguments to its exit code.
#pragma once

#include <string>
#include <vector>

namespace kata::cli {

// `args`: without the program's name. Errors are one line on stderr, and a record in the log of --log and in
// the system's.
int RunProgram(const std::vector<std::string>& args);

}  // namespace kata::cli
