// The configuration as commands need it.
#pragma once

#include "base/result.h"
#include "cli/commands.h"
#include "config/config.h"
#include "oci/spec.h"

namespace kata::cli {

// Loads it, logs its warnings, and turns debug logging on if it says so. A wrong value is kInvalidArgument
// with file, line, key and what is allowed.
//
// `annotations`: of the container that the sandbox is made for.
Result<config::Config> LoadConfiguration(const GlobalOptions& globals, const oci::StringMap& annotations);

}  // namespace kata::cli
