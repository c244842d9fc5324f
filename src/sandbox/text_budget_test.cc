// Bursts, the steady rate, and the count of what was refused.
#include "sandbox/text_budget.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

constexpr size_t kLine = 1024 - TextBudget::kRecordBytes;
constexpr size_t kLinesOfBurst = TextBudget::kBurstBytes / 1024;

TEST(TextBudget, ABurstThenTheSteadyRate) {
  const TextBudget::Clock::time_point begin{};
  TextBudget budget(begin);
  for (size_t i = 0; i < kLinesOfBurst; ++i) ASSERT_TRUE(budget.Take(kLine, begin)) << i;
  EXPECT_FALSE(budget.Take(kLine, begin));
  EXPECT_FALSE(budget.Take(0, begin)) << "empty lines are records as well";
  EXPECT_EQ(budget.TakeRefused(), 2u);
  EXPECT_EQ(budget.TakeRefused(), 0u);
  const auto later = begin + std::chrono::seconds(2 * 1024 / TextBudget::kBytesPerSecond);
  EXPECT_TRUE(budget.Take(kLine, later));
  EXPECT_TRUE(budget.Take(kLine, later));
  EXPECT_FALSE(budget.Take(kLine, later));
}

TEST(TextBudget, SilenceGivesNoMoreThanABurst) {
  const TextBudget::Clock::time_point begin{};
  TextBudget budget(begin);
  const auto later = begin + std::chrono::hours(24 * 365);
  for (size_t i = 0; i < kLinesOfBurst; ++i) ASSERT_TRUE(budget.Take(kLine, later)) << i;
  EXPECT_FALSE(budget.Take(kLine, later));
}

}  // namespace
}  // namespace kata::sandbox
