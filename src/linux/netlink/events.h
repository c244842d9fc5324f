// The kernel's events over netlink, as wake-ups only: what has happened is read from sysfs (devices) or from
// the tables (route.h), which are needed whole anyway. So nothing depends on events that were lost because
// too many came at once. Open a socket before reading: then nothing that changes in between is missed.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// A non-blocking socket that becomes readable whenever a device appears, changes or goes from now on
// (kobject uevents).
Result<UniqueFd> OpenDeviceEvents();

// A non-blocking socket that becomes readable whenever a link, an address or a route appears, changes or goes
// from now on in the network namespace of the calling thread.
Result<UniqueFd> OpenNetworkEvents();

// Takes all events out of such a socket.
void DrainEvents(int fd);

}  // namespace kata::linux
