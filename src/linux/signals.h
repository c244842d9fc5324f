// Signal names and numbers as engines write them: "SIGTERM", "term", "15", "RTMIN+3".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::linux {

// The range that glibc leaves to programs; the first two of the kernel's real-time signals are its own.
inline constexpr int kFirstRealTimeSignal = 34;
inline constexpr int kLastSignal = 64;

// A name in any case, with or without "SIG", "RTMIN+n", "RTMAX-n", or a number 1 to 64; kInvalidArgument
// otherwise.
Result<int> ParseSignal(std::string_view text);

// "SIGTERM", "SIGRTMIN+3"; the number where there is no name.
std::string SignalName(int signal);

}  // namespace kata::linux
