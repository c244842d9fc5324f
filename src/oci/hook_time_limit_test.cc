// The sums that waits are made of.
#include "oci/hook_time_limit.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "base/deadline.h"

namespace kata::oci {
namespace {

Hook WithTimeout(int64_t seconds) {
  Hook hook;
  hook.timeout_seconds = seconds;
  return hook;
}

TEST(HookTimeLimit, IsTheHooksOwnOrTheDefault) {
  EXPECT_EQ(TimeLimit(WithTimeout(7)), std::chrono::seconds(7));
  EXPECT_EQ(TimeLimit(Hook()), kHookTimeLimit);
  EXPECT_EQ(TimeLimit({WithTimeout(7), Hook()}), std::chrono::seconds(7) + kHookTimeLimit);
  EXPECT_EQ(TimeLimit(std::vector<Hook>()), std::chrono::seconds(0));
}

TEST(HookTimeLimit, SumsOfLongOnesStayInTheFuture) {
  for (const int64_t timeout : {int64_t{INT32_MAX}, INT64_MAX}) {
    const std::chrono::nanoseconds sum = TimeLimit(std::vector<Hook>(5, WithTimeout(timeout)));
    EXPECT_GE(sum, TimeLimit(WithTimeout(timeout)));
    EXPECT_GT(5 * sum, sum);
    EXPECT_FALSE(Deadline::After(sum).Passed());
  }
}

}  // namespace
}  // namespace kata::oci
