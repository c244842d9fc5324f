// The last step of a container's life: what it leaves on the host, and the hooks behind that.
#pragma once

#include "base/result.h"
#include "oci/json.h"
#include "sandbox/state_directory.h"

namespace kata::sandbox {

// Removes control groups and state directory of a container of which no process runs any more, then runs its
// poststop hooks; their failure is logged. Of several callers one does so, for which the others wait.
// Idempotent; leaves alone a later container of the same id. Blocking. REQUIRES: this process is in the
// host's mount namespace, or `host_mount_namespace` is a descriptor of it.
Status RemoveTraces(const StateDirectory& directory, int host_mount_namespace = -1);

// The state that hooks get.
oci::State HookState(const ContainerState& state, const std::string& status);

}  // namespace kata::sandbox
