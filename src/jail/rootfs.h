// The container's root: mounts and devices in it, masked and read-only paths, and the switch to it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "jail/mounts.h"
#include "oci/spec.h"

namespace kata::jail {

// In a new mount namespace: makes everything that `spec` says about the file system and leaves the process
// with the container's root as its "/" and working directory. Consumes `mounts`.
Status EnterRootfs(const oci::Spec& spec, const std::vector<MountStep>& steps, DetachedMounts mounts,
                   bool user_namespace);

}  // namespace kata::jail
