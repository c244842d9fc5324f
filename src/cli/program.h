// kata-runtime from its arguments to its exit code.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"

namespace kata::cli {

// `args`: without the program's name. Errors are a record in the log of --log and in the system's. On stderr
// they are a record, too, or, where --log takes the records, the message alone: one line.
int RunProgram(const std::vector<std::string>& args);

// One line on stderr and a record in the logs, as RunProgram does for the error that ends the program.
void ReportError(const GlobalOptions& globals, const Error& error);

}  // namespace kata::cli
