// The configuration as commands need it.
#pragma once

#include "base/result.h"
#include "cli/commands.h"
#include "config/config.h"

namespace kata::cli {

// Loads it, logs its warnings, and turns debug logging on if it says so. A wrong value is kInvalidArgument
// with file, line, key and what is allowed.
Result<config::Config> LoadConfiguration(const GlobalOptions& globals);

}  // namespace kata::cli
