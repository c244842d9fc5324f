// The container's root: mounts and devices in it, masked and read-only paths, and the switch to it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "jail/mounts.h"
#include "linux/terminal.h"
#include "oci/spec.h"

namespace kata::jail {

// In a new mount namespace: makes everything that `spec` says about the file system and leaves the process
// with the container's root as its "/" and working directory. Consumes `mounts`. Returns the process's
// terminal, neither end valid if it has none.
Result<linux::PtyPair> EnterRootfs(const oci::Spec& spec, const std::vector<MountStep>& steps,
                                   DetachedMounts mounts);

}  // namespace kata::jail
