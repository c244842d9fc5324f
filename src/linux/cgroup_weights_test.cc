// Tests of linux/cgroup_weights.h.
#include "linux/cgroup_weights.h"

#include <gtest/gtest.h>

#include <utility>

namespace kata::linux {
namespace {

TEST(CgroupWeights, CpuSharesMapOntoWeights) {
  const std::pair<uint64_t, uint64_t> cases[] = {{0, 1},      {2, 1},          {1024, 100},      {512, 59},
                                                 {2048, 174}, {262144, 10000}, {1u << 30, 10000}};
  for (const auto& [shares, weight] : cases) EXPECT_EQ(CpuWeightFromShares(shares), weight) << shares;
  for (uint64_t shares = 3; shares < 262144; shares += 97) {
    EXPECT_GE(CpuWeightFromShares(shares + 1), CpuWeightFromShares(shares));
  }
}

TEST(CgroupWeights, IoWeights) {
  EXPECT_EQ(IoWeightFromBlkio(10), 1u);
  EXPECT_EQ(IoWeightFromBlkio(1000), 10000u);
  EXPECT_EQ(IoWeightFromBlkio(500), 4950u);
}

}  // namespace
}  // namespace kata::linux
