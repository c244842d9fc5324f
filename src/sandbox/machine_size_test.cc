#include "sandbox/machine_size.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

MachineSize Size(std::optional<int64_t> memory, std::optional<int64_t> quota,
                 std::optional<uint64_t> period) {
  config::HypervisorConfig config;
  config.default_vcpus = 2;
  config.default_max_vcpus = 8;
  config.default_memory_mib = 256;
  config.default_max_memory_mib = 16384;
  config.overhead_memory_mib = 64;
  oci::Spec spec;
  spec.linux.emplace().resources.emplace();
  if (memory) spec.linux->resources->memory.emplace().limit = memory;
  if (quota || period) {
    oci::CpuResources& cpu = spec.linux->resources->cpu.emplace();
    cpu.quota_us = quota;
    cpu.period_us = period;
  }
  return SizeMachine(config, spec);
}

TEST(SizeMachineTest, DefaultsWithoutLimits) {
  for (const std::optional<int64_t> none :
       {std::optional<int64_t>(), std::optional<int64_t>(-1), std::optional<int64_t>(0)}) {
    const MachineSize size = Size(none, none, std::nullopt);
    EXPECT_EQ(size.vcpus, 2u);
    EXPECT_EQ(size.memory_mib, 256u);
  }
}

TEST(SizeMachineTest, MemoryIsTheLimitAndWhatTheGuestNeeds) {
  EXPECT_EQ(Size(512 << 20, {}, {}).memory_mib, 576u);
  EXPECT_EQ(Size((512 << 20) + 1, {}, {}).memory_mib, 577u);
  EXPECT_EQ(Size(6 << 20, {}, {}).memory_mib, 96u);
  EXPECT_EQ(Size(INT64_MAX, {}, {}).memory_mib, 16384u);
}

TEST(SizeMachineTest, CpusAreTheQuotaRoundedUp) {
  EXPECT_EQ(Size({}, 100000, 100000).vcpus, 1u);
  EXPECT_EQ(Size({}, 150000, 100000).vcpus, 2u);
  EXPECT_EQ(Size({}, 50000, {}).vcpus, 1u);
  EXPECT_EQ(Size({}, 300000, {}).vcpus, 3u);
  EXPECT_EQ(Size({}, INT64_MAX, 1).vcpus, 8u);
  EXPECT_EQ(Size({}, 100000, 0).vcpus, 8u);
}

}  // namespace
}  // namespace kata::sandbox
