// Durations as Go's programs write them.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace kata::cli {

// "500ms", "5s", "1m30s", "0.5h", "100us"; above zero. What is shorter than a millisecond is taken for one.
// kInvalidArgument otherwise.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

}  // namespace kata::cli
