// Tests of agent/container_limits.h.
#include "agent/container_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

constexpr uint64_t kMiB = 1u << 20;

TEST(ContainerLimitsTest, AReserveIsLeft) {
  const ContainerLimits limits = PlanContainerLimits(2048 * kMiB, 16000, 90);
  EXPECT_EQ(limits.memory_bytes, (2048 - 32) * kMiB);
  EXPECT_EQ(limits.tasks, 16000u - 90 - 128);
}

TEST(ContainerLimitsTest, TheReserveOfASmallGuestIsAQuarter) {
  const ContainerLimits limits = PlanContainerLimits(64 * kMiB, 400, 90);
  EXPECT_EQ(limits.memory_bytes, 48 * kMiB);
  EXPECT_EQ(limits.tasks, 300u);
}

TEST(SetSharedLimitsTest, SetsWhatTheKernelHasAndTellsWhatItCannot) {
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  ASSERT_OK(MakeDirectories(directory.path() + "/fs/epoll"));
  ASSERT_OK(WriteFileAtomic(directory.path() + "/fs/file-max", "25000\n"));
  ASSERT_OK(MakeDirectories(directory.path() + "/fs/epoll/max_user_watches"));
  EXPECT_THAT(SetSharedLimits(directory.path()),
              testing::ElementsAre(testing::HasSubstr("epoll/max_user_watches")));
  ASSERT_OK_AND_ASSIGN(const std::string value, ReadFile(directory.path() + "/fs/file-max"));
  EXPECT_TRUE(value.starts_with("9223372036854775807")) << value;
}

}  // namespace
}  // namespace kata::agent
