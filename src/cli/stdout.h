// What a command shows.
#pragma once

#include <string_view>

#include "base/result.h"

namespace kata::cli {

// All of `text`; a full disk or a closed pipe is an error.
Status WriteStdout(std::string_view text);

}  // namespace kata::cli
