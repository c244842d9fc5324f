// The namespaces that the containers of a sandbox share.
#pragma once

#include <string>

#include "base/result.h"
#include "linux/namespaces.h"

namespace kata::agent {

// Kept alive by descriptors alone; no process needs to live in them. Immutable, hence safe to share between
// threads.
struct SandboxNamespaces {
  linux::NamespaceFd ipc;
  linux::NamespaceFd uts;

  // New ones; `hostname` is set in the UTS namespace, the agent's own is left if it is empty. Uses a thread
  // of its own, since unshare(2) moves the calling thread for good.
  static Result<SandboxNamespaces> Create(const std::string& hostname);
};

// The pid namespace for containers that want to share one: that of the sandbox's first container. Touched by
// the jobs of one queue only.
struct SharedPidNamespace {
  linux::NamespaceFd fd;
};

}  // namespace kata::agent
