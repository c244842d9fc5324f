// How long hooks of config.json may run, on the host and in the guest.
#pragma once

#include <chrono>
#include <vector>

#include "oci/spec.h"

namespace kata::oci {

// A hook that names no time-out is ended after this time: the specification sets no limit for it, but every
// wait has one here.
inline constexpr std::chrono::seconds kHookTimeLimit = std::chrono::hours(1);

// What `hook` may take at most, a time-out of decades being cut to one.
std::chrono::seconds TimeLimit(const Hook& hook);

// What all of `hooks`, one after the other, may take at most.
std::chrono::seconds TimeLimit(const std::vector<Hook>& hooks);

}  // namespace kata::oci
