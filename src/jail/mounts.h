// Carrying out the mount plan inside of the container's root.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/mount_plan.h"

namespace kata::jail {

// Detached copies of the mounts that the container takes over from the agent's mount namespace. They are made
// before any namespace is entered, with all rights and by the paths as the agent knows them.
struct DetachedMounts {
  UniqueFd rootfs;
  std::vector<UniqueFd> sources;  // by index of the step; set for binds
};
Result<DetachedMounts> DetachMounts(const std::string& rootfs, const oci::Spec& spec,
                                    const std::vector<MountStep>& steps, const std::string& cgroup_source);

struct MountContext {
  int root_fd = -1;  // the container's root, attached in its mount namespace
  bool user_namespace = false;
};

// Mounts every step in order; sources are taken out of `mounts`. Returns the mounts that FinishMounts makes
// read-only.
Result<std::vector<UniqueFd>> PerformMounts(const MountContext& context, const std::vector<MountStep>& steps,
                                            DetachedMounts& mounts);
Status FinishMounts(const std::vector<UniqueFd>& read_only_late);

// Opens the mount point for something that is a directory or not, creating what is missing.
Result<UniqueFd> OpenMountPoint(int root_fd, const std::string& destination, bool directory,
                                bool no_symlinks);

}  // namespace kata::jail
