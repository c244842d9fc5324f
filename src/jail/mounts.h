// Carrying out the mount plan inside of the container's root.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/mount_plan.h"
#include "jail/namespaces.h"

namespace kata::jail {

// What must be made before namespaces are entered, as the container's own rights would not do. Everything
// else is made in its turn, so that the container lists its mounts in the order of the spec.
struct DetachedMounts {
  UniqueFd rootfs;  // a detached copy, as are the sources
  // By index of the step:
  std::vector<UniqueFd> sources;       // binds with mapped ids, or for a container with a user namespace
  std::vector<UniqueFd> file_systems;  // contexts of foreign file systems
  // By index of the device, for a container with a user namespace.
  std::vector<UniqueFd> devices;
};
Result<DetachedMounts> DetachMounts(const std::string& rootfs, const std::vector<MountStep>& steps,
                                    bool user_namespace, const std::string& cgroup_source);

// Adds file systems that only the owner of a namespace can mount: those of a namespace that the container
// joins or leaves as it is, where the container has a user namespace. To be called when the plan's joins are
// done.
Status CreateForeignFileSystems(const NamespacePlan& namespaces, const std::vector<MountStep>& steps,
                                DetachedMounts& mounts);

// Mounts every step in order below `root_fd`, the container's root, attached in its mount namespace; sources
// are taken out of `mounts`. Returns the mounts that FinishMounts makes read-only.
Result<std::vector<UniqueFd>> PerformMounts(int root_fd, const std::vector<MountStep>& steps,
                                            DetachedMounts& mounts);
Status FinishMounts(const std::vector<UniqueFd>& read_only_late);

// Opens the mount point for something that is a directory or not, creating what is missing.
Result<UniqueFd> OpenMountPoint(int root_fd, const std::string& destination, bool directory,
                                bool no_symlinks);

}  // namespace kata::jail
