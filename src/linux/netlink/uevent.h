// The kernel's device events (kobject uevents): a wake-up whenever a device appears, changes or goes. What
// has happened stands in sysfs, which is read anyway, so the events' text is not.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// A socket that becomes readable with each event from now on (NETLINK_KOBJECT_UEVENT, group 1). Non-blocking.
// Open it before looking at sysfs: then nothing that appears in between is missed.
Result<UniqueFd> OpenUevents();

// Takes all events out of the socket.
void DrainUevents(int fd);

}  // namespace kata::linux
