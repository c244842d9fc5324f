// Tells those who watch a container's control group on the host of a kill that happened in the guest.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "cgroup/host_cgroup.h"

namespace kata::cgroup {

// Makes the kernel kill a process for lack of memory in `cgroup`: a child of this process, for which the
// group's limit is lowered for a moment. Its memory events are then those of a container whose process was
// killed so. Waits until the group has no processes besides `bystanders`, small ones, which survive. Nothing
// is done without a memory controller. Blocks; thread safe.
Status ReportOomKill(const HostCgroup& cgroup, const std::vector<pid_t>& bystanders, Deadline deadline);

}  // namespace kata::cgroup
