// Durations as Go's programs write them.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace kata::cli {

// "500ms", "5s", "1m30s", "2h"; above zero. kInvalidArgument otherwise.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

}  // namespace kata::cli
