#include "sandbox/machine_size.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

config::HypervisorConfig Defaults() {
  config::HypervisorConfig config;
  config.default_vcpus = 2;
  config.default_max_vcpus = 8;
  config.default_memory_mib = 256;
  config.default_max_memory_mib = 16384;
  config.overhead_memory_mib = 64;
  return config;
}

oci::Resources Limits(std::optional<int64_t> memory, std::optional<int64_t> quota = {},
                      std::optional<uint64_t> period = {}) {
  oci::Resources resources;
  if (memory) resources.memory.emplace().limit = memory;
  if (quota || period) {
    oci::CpuResources& cpu = resources.cpu.emplace();
    cpu.quota_us = quota;
    cpu.period_us = period;
  }
  return resources;
}

MachineSize Size(std::optional<int64_t> memory, std::optional<int64_t> quota,
                 std::optional<uint64_t> period) {
  return SizeMachine(Defaults(), {{Limits(memory, quota, period)}});
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

TEST(SizeMachineTest, ASetOfCpusCountsThem) {
  const auto cpus = [](const std::string& set, std::optional<int64_t> quota) {
    oci::Resources resources;
    resources.cpu = oci::CpuResources{.quota_us = quota, .cpus = set};
    return SizeMachine(Defaults(), {{resources}}).vcpus;
  };
  EXPECT_EQ(cpus("0-2,7", {}), 4u);
  EXPECT_EQ(cpus("0-2,7", -1), 4u);
  EXPECT_EQ(cpus("0", 400000), 1u);
  EXPECT_EQ(cpus("0-5", 150000), 2u);
  EXPECT_EQ(cpus("0-63", {}), 8u);
  EXPECT_EQ(cpus("many", {}), 2u);
}

TEST(SizeMachineTest, LimitsOfSeveralContainersAddUp) {
  constexpr int64_t kMib = 1 << 20;
  EXPECT_EQ(SizeMachine(Defaults(), {{Limits(100 * kMib, 50000), Limits(200 * kMib, 75000)}}),
            (MachineSize{.vcpus = 2, .memory_mib = 364}));
  // Those without a limit share the defaults.
  EXPECT_EQ(SizeMachine(Defaults(), {{Limits({}), Limits({}), Limits(200 * kMib, 150000)}}),
            (MachineSize{.vcpus = 4, .memory_mib = 456}));
  EXPECT_EQ(SizeMachine(Defaults(), {{Limits(INT64_MAX, INT64_MAX, 1), Limits(INT64_MAX, INT64_MAX, 1)}}),
            (MachineSize{.vcpus = 8, .memory_mib = 16384}));
}

}  // namespace
}  // namespace kata::sandbox
