// The monitor API, kata.sandbox.v1.Monitor over ttrpc: what the command line asks beyond containerd's task
// API.
#pragma once

#include <memory>

#include "sandbox/sandbox.h"
#include "ttrpc/server.h"

namespace kata::sandbox {

// Adds the methods to `server`. Call it before the server serves anybody.
void RegisterMonitorService(ttrpc::Server& server, const std::shared_ptr<Sandbox>& sandbox);

}  // namespace kata::sandbox
