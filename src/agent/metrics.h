// The agent's and the guest's figures in the text form of Prometheus (GetMetrics).
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace kata::agent {

// kata_agent_* and kata_guest_*, read from `proc_root` ("/proc" but for tests). What cannot be read is left
// out. `scrape_count`: how often this was asked, this time included. Blocks shortly; any thread.
std::string ReadMetrics(uint64_t scrape_count, const std::string& proc_root = "/proc");

}  // namespace kata::agent
