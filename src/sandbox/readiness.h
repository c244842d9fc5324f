// How a container says that its service is ready (sd_notify(3)): the socket for that is in the guest, whose
// agent tells the host. Who wants to know on the host is the caller of create or start, or a monitor that the
// engine has put between the container and the service manager.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/spec.h"
#include "sandbox/agent_client.h"

namespace kata::sandbox {

// What becomes of it for one container. `listens` is false where nobody wants to know.
struct Readiness {
  bool listens = false;
  oci::Mount mount;         // of the guest, for the container
  UniqueFd monitor_socket;  // of the engine's monitor; not valid: the caller asks
};

// Prepares a container that is about to be created. `wanted`: the caller will ask; as under runc,
// NOTIFY_SOCKET of its process and what is mounted for it come on top of what `spec` has. Else the engine's
// monitor is told if there is one: NOTIFY_SOCKET lies in a directory of the host that is mounted, in which
// there is nothing but a socket "notify.sock"; the mount is taken out of `spec`, as Readiness.mount takes its
// place. Relative sources begin at `bundle`; `host_mount_namespace` (borrowed): where they are looked up. May
// block. An agent that cannot listen is warned of, and the container goes on without.
Readiness PrepareReadiness(AgentClient& agent, const std::string& container_id, bool wanted,
                           const std::string& bundle, int host_mount_namespace, oci::Spec& spec);

}  // namespace kata::sandbox
