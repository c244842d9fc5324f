// Carrying out the mount plan inside of the container's root.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/mount_plan.h"
#include "jail/namespaces.h"

namespace kata::jail {

// Detached copies of the mounts that the container takes over from the agent's mount namespace. They are made
// before any namespace is entered, with all rights and by the paths as the agent knows them.
struct DetachedMounts {
  UniqueFd rootfs;
  std::vector<UniqueFd> sources;  // by index of the step; set for binds and foreign file systems
};
Result<DetachedMounts> DetachMounts(const std::string& rootfs, const oci::Spec& spec,
                                    const std::vector<MountStep>& steps, const std::string& cgroup_source);

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
