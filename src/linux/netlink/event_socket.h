// A netlink socket whose events only wake up: what has happened is read elsewhere.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// A non-blocking socket of `protocol` (netlink(7)) in the network namespace of the calling thread, subscribed
// to `groups`. `what` is for messages: "device events".
Result<UniqueFd> OpenEventSocket(int protocol, uint32_t groups, std::string_view what);

// Takes all events out of such a socket.
void DrainEventSocket(int fd);

}  // namespace kata::linux
