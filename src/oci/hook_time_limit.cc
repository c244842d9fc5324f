#include "oci/hook_time_limit.h"

#include <algorithm>
#include <cstdint>

namespace kata::oci {

std::chrono::seconds TimeLimit(const Hook& hook) {
  if (!hook.timeout_seconds) return kHookTimeLimit;
  return std::chrono::seconds(std::clamp<int64_t>(*hook.timeout_seconds, 0, INT32_MAX));
}

std::chrono::seconds TimeLimit(const std::vector<Hook>& hooks) {
  std::chrono::seconds sum{0};
  for (const Hook& hook : hooks) sum += TimeLimit(hook);
  return sum;
}

}  // namespace kata::oci
