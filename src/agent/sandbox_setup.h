// Making a sandbox and undoing it. Blocks; for workers.
#pragma once

#include "agent/context.h"
#include "agent/sandbox_namespaces.h"
#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// The longest host name of the kernel (uts_namespaces(7)); a longer one is cut.
inline constexpr size_t kMaxHostNameBytes = 64;

// What was mounted is undone on failure.
Result<SandboxNamespaces> SetUpSandbox(const Settings& settings, StorageTable& storages,
                                       const grpc::CreateSandboxRequest& request);
Status TearDownSandbox(StorageTable& storages);

}  // namespace kata::agent
