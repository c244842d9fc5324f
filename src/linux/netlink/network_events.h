// Changes of a network namespace: a wake-up whenever a link, an address or a route appears, changes
// or goes. What has changed is read from the tables (route.h), which are needed whole anyway; so nothing
// depends on events that were lost because too many came at once.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// A socket that becomes readable with each change from now on in the network namespace of the calling thread.
// Non-blocking. Open it before reading the tables: then nothing that changes in between is missed.
Result<UniqueFd> OpenNetworkEvents();

// Takes all events out of the socket.
void DrainNetworkEvents(int fd);

}  // namespace kata::linux
