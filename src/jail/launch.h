// The agent's side of setting a process up: starts `kata-agent init` and follows it to the gate.
#pragma once

#include <map>
#include <string>

#include "base/deadline.h"
#include "base/process.h"
#include "base/result.h"
#include "jail/jail.h"
#include "jail/request.h"
#include "jail/sync_channel.h"

namespace kata::jail {

// A process that waits at the gate.
struct LaunchedProcess {
  ChildProcess process;
  UniqueFd terminal;  // the master; invalid without a terminal
  SyncChannel channel;
};

// `fds`: numbers of InheritedFd -> ours, besides request and sync socket (borrowed). On failure nothing is
// left.
Result<LaunchedProcess> Launch(const Request& request, const StdioFds& stdio, std::map<int, int> fds,
                               const std::string& self_executable, Deadline deadline);

Status OpenGate(SyncChannel& channel);
// Waits, after that, until the program runs. Closes the channel.
Status AwaitProgram(SyncChannel& channel, Deadline deadline);

}  // namespace kata::jail
