// Making a container and undoing it: storages, bundle directory, root file system, jail. Blocks; for workers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/context.h"
#include "agent/guest_hooks.h"
#include "agent/sandbox_namespaces.h"
#include "agent/stdio_stream.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/jail.h"
#include "linux/namespaces.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// What a container holds in the guest. Undo with TearDownContainer.
struct ContainerParts {
  std::string id;
  std::string bundle_directory;
  std::vector<std::string> storages;  // mount points in use
  std::string termination_log;        // path in the guest; empty: none
  std::shared_ptr<const GuestHooks> hooks;
  oci::State hook_state;  // what hooks are told
  std::unique_ptr<jail::Container> jail;
};

struct NewContainer {
  ContainerParts parts;
  ChildProcess init;
  StdioEnds stdio;
};

// A mount of another container of the sandbox that is to be seen in a new one.
struct SharedMountSource {
  std::shared_ptr<const UniqueFd> pidfd;  // of the other's init
  std::string source_path;
  std::string destination_path;
};

// Namespaces that a container has otherwise than AdaptSpec says, by type: one to join, or, not valid, a new
// one.
using ContainerNamespaces = std::map<std::string, linux::NamespaceFd>;

// `shared_pid`: joined when the request asks for it and it is there, filled from this container, which
// becomes its owner, when it is not; null: the container has a pid namespace of its own. The prestart hooks
// have run when this returns; the others follow later. What was made is undone on failure.
Result<NewContainer> SetUpContainer(const Settings& settings, StorageTable& storages,
                                    const SandboxNamespaces& namespaces,
                                    const ContainerNamespaces& own_namespaces, SharedPidNamespace* shared_pid,
                                    std::shared_ptr<const GuestHooks> hooks,
                                    const std::vector<SharedMountSource>& shared_mounts,
                                    const grpc::CreateContainerRequest& request);

jail::UserNames ToUserNames(const grpc::StringUser& user);

// Fits the limits of all containers together to the memory that the guest has now; the host may have plugged
// more in.
void RefreshLimits(const Settings& settings);

// Kills what runs in the container and removes everything. Goes on after failures, which are logged.
void TearDownContainer(StorageTable& storages, ContainerParts parts);

// Fits a specification to the guest: every container gets its own mount, pid and cgroup namespace and the
// sandbox's ipc and uts, shares the guest's network, and has no hooks but startContainer (the host has run
// the others). kInvalidArgument if there is no process or root.
Status AdaptSpec(oci::Spec& spec);

}  // namespace kata::agent
