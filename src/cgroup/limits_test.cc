#include "cgroup/limits.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kata::cgroup {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kMiB = 1u << 20;
constexpr Overhead kOverhead{.vm_memory_bytes = 256 * kMiB, .vmm_bytes = 100 * kMiB};

std::vector<std::string> Describe(const std::vector<Setting>& settings) {
  std::vector<std::string> lines;
  for (const Setting& setting : settings) {
    lines.push_back(fmt::format("{}={}{}", setting.file, setting.value, setting.required ? " required" : ""));
  }
  return lines;
}

oci::Resources Memory(oci::MemoryResources memory) {
  oci::Resources resources;
  resources.memory = memory;
  return resources;
}

std::vector<std::string> PlanMemory(bool unified, oci::MemoryResources memory) {
  return Describe(PlanLimits(unified, Memory(memory), kOverhead).at_creation);
}

TEST(Limits, NothingAskedNothingSet) {
  for (const bool unified : {false, true}) {
    oci::Resources zeros;
    zeros.memory = oci::MemoryResources{.limit = 0, .reservation = 0, .swap = 0};
    zeros.cpu = oci::CpuResources{.shares = 0, .quota_us = 0, .period_us = 0};
    zeros.block_io = oci::BlockIoResources{.weight = 0};
    for (const oci::Resources& resources : {oci::Resources(), zeros}) {
      const Limits limits = PlanLimits(unified, resources, kOverhead);
      EXPECT_THAT(limits.at_creation, IsEmpty());
      EXPECT_THAT(limits.when_created, IsEmpty());
    }
  }
}

TEST(Limits, MemoryLeavesRoomForTheMachine) {
  // Below the machine's own memory: all of that must fit.
  EXPECT_THAT(PlanMemory(true, {.limit = 64 * kMiB}), ElementsAre(fmt::format("memory.max={}", 356 * kMiB)));
  EXPECT_THAT(PlanMemory(true, {.limit = 1024 * kMiB}),
              ElementsAre(fmt::format("memory.max={}", 1124 * kMiB)));
  EXPECT_THAT(PlanMemory(false, {.limit = 1024 * kMiB}),
              ElementsAre(fmt::format("memory.limit_in_bytes={}", 1124 * kMiB)));
  EXPECT_THAT(PlanMemory(true, {.limit = -1}), ElementsAre("memory.max=max"));
  EXPECT_THAT(PlanMemory(false, {.limit = -1}), ElementsAre("memory.limit_in_bytes=-1"));
  EXPECT_THAT(PlanMemory(false, {.limit = INT64_MAX}), ElementsAre("memory.limit_in_bytes=-1"));
}

TEST(Limits, SwapIsWhatIsBesideTheLimit) {
  EXPECT_THAT(PlanMemory(true, {.limit = 512 * kMiB, .swap = 512 * kMiB}),
              ElementsAre(fmt::format("memory.max={}", 612 * kMiB), "memory.swap.max=0"));
  EXPECT_THAT(PlanMemory(false, {.limit = 512 * kMiB, .swap = 768 * kMiB}),
              ElementsAre(fmt::format("memory.limit_in_bytes={}", 612 * kMiB),
                          fmt::format("memory.memsw.limit_in_bytes={}", 868 * kMiB)));
  EXPECT_THAT(PlanMemory(true, {.swap = -1}), ElementsAre("memory.swap.max=max"));
  EXPECT_THAT(PlanMemory(false, {.swap = -1}), ElementsAre("memory.memsw.limit_in_bytes=-1"));
}

TEST(Limits, Reservation) {
  EXPECT_THAT(PlanMemory(true, {.reservation = 32 * kMiB}),
              ElementsAre(fmt::format("memory.low={}", 32 * kMiB)));
  EXPECT_THAT(PlanMemory(false, {.reservation = 32 * kMiB}),
              ElementsAre(fmt::format("memory.soft_limit_in_bytes={}", 356 * kMiB)));
}

TEST(Limits, CpuTimeCountsFromTheEndOfCreation) {
  oci::Resources resources;
  resources.cpu = oci::CpuResources{
      .shares = 1024, .quota_us = 50000, .burst_us = 1000, .period_us = 100000, .cpus = "0-1", .mems = "0"};
  const Limits v1 = PlanLimits(false, resources, kOverhead);
  EXPECT_THAT(Describe(v1.at_creation), ElementsAre("cpuset.cpus=0-1 required", "cpuset.mems=0 required"));
  EXPECT_THAT(Describe(v1.when_created), ElementsAre("cpu.shares=1024", "cpu.cfs_period_us=100000",
                                                     "cpu.cfs_quota_us=50000", "cpu.cfs_burst_us=1000"));
  const Limits v2 = PlanLimits(true, resources, kOverhead);
  EXPECT_EQ(v2.at_creation, v1.at_creation);
  EXPECT_THAT(Describe(v2.when_created),
              ElementsAre("cpu.weight=100", "cpu.max=50000 100000", "cpu.max.burst=1000"));
  resources.cpu = oci::CpuResources{.quota_us = -1};
  EXPECT_THAT(Describe(PlanLimits(true, resources, kOverhead).when_created), ElementsAre("cpu.max=max"));
  EXPECT_THAT(Describe(PlanLimits(false, resources, kOverhead).when_created),
              ElementsAre("cpu.cfs_quota_us=-1"));
}

TEST(Limits, TheMachineHasATenthOfAProcessorAtLeast) {
  oci::Resources resources;
  resources.cpu = oci::CpuResources{.quota_us = 1000};
  EXPECT_THAT(Describe(PlanLimits(true, resources, kOverhead).when_created), ElementsAre("cpu.max=10000"));
  resources.cpu = oci::CpuResources{.quota_us = 1000, .period_us = 50000};
  const Limits v1 = PlanLimits(false, resources, kOverhead);
  EXPECT_THAT(Describe(v1.when_created), ElementsAre("cpu.cfs_period_us=50000", "cpu.cfs_quota_us=5000"));
  EXPECT_EQ(v1.when_created[1].fallback, "1000");
  resources.cpu = oci::CpuResources{.quota_us = 999};
  EXPECT_THAT(Describe(PlanLimits(true, resources, kOverhead).when_created), ElementsAre("cpu.max=999"))
      << "is the kernel's to refuse";
}

TEST(Limits, BlockDevicesAreTheHosts) {
  oci::Resources resources;
  resources.block_io.emplace();
  resources.block_io->weight = 500;
  resources.block_io->weight_device = {{.major = 8, .minor = 0, .weight = 300}, {.major = 8, .minor = 16}};
  resources.block_io->throttle_read_bps_device = {{8, 0, 1000}};
  resources.block_io->throttle_write_iops_device = {{8, 16, 0}};
  EXPECT_THAT(Describe(PlanLimits(false, resources, kOverhead).when_created),
              ElementsAre("blkio.weight=500", "blkio.bfq.weight_device=8:0 300 required",
                          "blkio.throttle.read_bps_device=8:0 1000 required",
                          "blkio.throttle.write_iops_device=8:16 0 required"));
  EXPECT_THAT(Describe(PlanLimits(true, resources, kOverhead).when_created),
              ElementsAre("io.weight=default 4950", "io.bfq.weight=8:0 300 required",
                          "io.max=8:0 rbps=1000 required", "io.max=8:16 wiops=max required"));
}

TEST(Limits, WhatWouldHitTheMonitorIsLeftToTheGuest) {
  oci::Resources resources;
  resources.pids_limit = 10;
  resources.hugepage_limits = {{"2MB", 0}};
  resources.unified = {{"memory.high", "1"}};
  resources.devices = {{.allow = false}};
  const Limits limits = PlanLimits(true, resources, kOverhead);
  EXPECT_THAT(limits.at_creation, IsEmpty());
  EXPECT_THAT(limits.when_created, IsEmpty());
}

}  // namespace
}  // namespace kata::cgroup
