#include "oci/hook_time_limit.h"

#include <algorithm>
#include <cstdint>

namespace kata::oci {
namespace {

// Waits are made of several of these sums, and counted in nanoseconds of 64 bits, which are 292 years.
constexpr std::chrono::seconds kLongest = std::chrono::hours(24 * 365 * 10);

}  // namespace

std::chrono::seconds TimeLimit(const Hook& hook) {
  if (!hook.timeout_seconds) return kHookTimeLimit;
  return std::chrono::seconds(std::clamp<int64_t>(*hook.timeout_seconds, 0, kLongest.count()));
}

std::chrono::seconds TimeLimit(const std::vector<Hook>& hooks) {
  std::chrono::seconds sum{0};
  for (const Hook& hook : hooks) sum = std::min(sum + TimeLimit(hook), kLongest);
  return sum;
}

}  // namespace kata::oci
