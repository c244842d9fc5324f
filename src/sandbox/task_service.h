// The task API, containerd.task.v2.Task over ttrpc: what the command line (and containerd) ask of the
// sandbox.
#pragma once

#include <memory>

#include "sandbox/sandbox.h"
#include "ttrpc/server.h"

namespace kata::sandbox {

// Adds the methods to `server`. Call it before the server serves anybody.
void RegisterTaskService(ttrpc::Server& server, const std::shared_ptr<Sandbox>& sandbox);

}  // namespace kata::sandbox
