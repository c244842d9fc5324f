#include "base/deadline.h"

#include <gtest/gtest.h>

namespace kata {
namespace {

using namespace std::chrono_literals;

TEST(DeadlineTest, PassesAndRemains) {
  EXPECT_TRUE(Deadline::After(0s).Passed());
  EXPECT_TRUE(Deadline::After(-1h).Passed());
  EXPECT_EQ(Deadline::After(-1h).Remaining(), 0ns);
  EXPECT_EQ(Deadline::After(-1h).RemainingPollMs(), 0);
  const Deadline later = Deadline::After(1h);
  EXPECT_FALSE(later.Passed());
  EXPECT_LE(later.Remaining(), 1h);
  EXPECT_GT(later.Remaining(), 30min);
}

TEST(DeadlineTest, PollTimeIsRoundedUpAndBounded) {
  EXPECT_EQ(Deadline::After(24h * 365).RemainingPollMs(), 0x7fffffff);
  const Deadline now_and_a_bit = Deadline::After(100us);
  EXPECT_TRUE(now_and_a_bit.RemainingPollMs() == 1 || now_and_a_bit.Passed());
}

TEST(DeadlineTest, AfterDoesNotOverflow) {
  EXPECT_FALSE(Deadline::After(std::chrono::nanoseconds::max()).Passed());
  EXPECT_GT(Deadline::After(std::chrono::nanoseconds::max()).Remaining(), 24h * 365);
}

}  // namespace
}  // namespace kata
