// Tests of agent/container_limits.h.
#include "agent/container_limits.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace kata::agent
