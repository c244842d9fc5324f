// The steps of the re-executed process, in the order in which they run (JailMain).
#pragma once

#include "base/result.h"
#include "jail/request.h"
#include "jail/sync_channel.h"

namespace kata::jail {

// The first process: joins namespaces as far as must be done before the final process is cloned, clones that
// (a child of the agent, CLONE_PARENT) and reports its pid. In the final process it returns only on failure.
Status RunIntermediate(const Request& request, const InheritedFds& fds, SyncChannel& channel);

}  // namespace kata::jail
