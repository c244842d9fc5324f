// Which attributes the bind mount of a host's file gets: what is asked for, and what its source has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "linux/mounts.h"

namespace kata::storage {

struct BindAttributes {
  // Of the mount in the guest, beside those that are asked for ("nosuid").
  std::vector<std::string> inherited;
  // Of the mount on the host, MOUNT_ATTR_*: those that decide what is written there.
  uint64_t set = 0;
  uint64_t clear = 0;
};

// As mount(8) and runtimes on a host do it: a bind mount without any attribute among its options keeps those
// of its source, one with some has these and no others, but for access times. Where the container has a user
// namespace the kernel has locked some of the source's (mount_namespaces(7)): they stay, and to ask for their
// end is EPERM. `source`: MS_* of the source's mount.
Result<BindAttributes> PlanBindAttributes(const linux::MountOptions& asked, unsigned long source,
                                          bool user_namespace);

}  // namespace kata::storage
