// A copy of the program that a container cannot overwrite through /proc/<pid>/exe.
#pragma once

#include <string>

#include "base/result.h"

namespace kata::jail {

// The path to execute in place of `executable`. For /proc/self/exe that is a memfd with the program, sealed
// against writing, made once in a process and kept open by it (about the size of the binary in memory). A
// program on a read-only file system, or any other path, is used as it is. Thread safe.
Result<std::string> SealedExecutablePath(const std::string& executable);

}  // namespace kata::jail
