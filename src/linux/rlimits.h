// Resource limits by name (getrlimit(2)).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace kata::linux {

// "RLIMIT_NOFILE" -> RLIMIT_NOFILE; kInvalidArgument for an unknown name.
Result<int> ParseRlimit(std::string_view name);

// setrlimit(2) for the calling process; UINT64_MAX is "unlimited".
Status SetRlimit(std::string_view name, uint64_t soft, uint64_t hard);

}  // namespace kata::linux
