// What all containers of the guest may take together, so that kernel and agent can go on working.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace kata::agent {

// The cgroup above those of the containers, below the mount point of cgroup2.
inline constexpr char kContainersCgroup[] = "/kata";

struct ContainerLimits {
  uint64_t memory_bytes = 0;
  uint64_t tasks = 0;
};

// `other_tasks`: processes and threads outside of the containers. The reserve is at most a quarter of what
// there is.
ContainerLimits PlanContainerLimits(uint64_t total_memory_bytes, uint64_t max_tasks, uint64_t other_tasks);

// Sets them by what the guest has now, and returns them; to be repeated when that has changed. A controller
// that is missing is no error.
Result<ContainerLimits> LimitContainers(const std::string& cgroup_root);

// Sets the limits of what the kernel counts for all processes together, or for one user in all of them: a
// container could take it all from the agent and other containers. Where it costs memory of the cgroup that
// makes it, which is limited, it gets as much as there can be; keys, whose memory no cgroup has, get less.
// One line for each limit that could not be set. `proc_sys` is "/proc/sys" but for tests.
std::vector<std::string> SetSharedLimits(const std::string& proc_sys = "/proc/sys");

}  // namespace kata::agent
