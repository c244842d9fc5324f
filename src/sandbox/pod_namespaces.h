// Which namespaces a further container of a pod shares: engines name them by paths of the host, where
// containers are kata-shims.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::sandbox {

// The process of "/proc/<pid>/ns/<kind>"; 0: another path.
pid_t ProcessOfNamespace(std::string_view path);
bool IsKataShim(pid_t pid);

// By type ("ipc"): the container of the sandbox whose namespace is joined; empty: a new one, where the guest
// would give that of the sandbox.
using GuestNamespaces = std::map<std::string, std::string>;

// Of a container that is not the sandbox's first. `shims`: by the pids of the kata-shims of init processes,
// the containers of the sandbox. A path that leads to no container of it, but is not that of a /proc/<pid>
// either, is what an engine has made for the pod, and means the sandbox. The runtime's own namespace means
// what an absent entry means. kInvalidArgument for one that is neither in the machine nor that.
Result<GuestNamespaces> PlanGuestNamespaces(const oci::Spec& spec, const std::string& sandbox_id,
                                            const std::map<pid_t, std::string>& shims);

}  // namespace kata::sandbox
