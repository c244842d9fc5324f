#include "sandbox/resources_update.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

oci::Resources Memory(oci::MemoryResources memory) {
  oci::Resources resources;
  resources.memory = memory;
  return resources;
}
oci::Resources Cpu(const oci::CpuResources& cpu) {
  oci::Resources resources;
  resources.cpu = cpu;
  return resources;
}

TEST(ResourcesUpdate, WhatIsNotSaidIsNotChanged) {
  oci::Resources current = Memory({.limit = 100, .swap = 200});
  current.pids_limit = 7;
  const ResourcesUpdate nothing = PlanUpdate(current, {});
  EXPECT_FALSE(nothing.changes.memory || nothing.changes.cpu || nothing.changes.pids_limit);
  oci::Resources zeros = Memory({.limit = 0, .reservation = 0, .swap = 0});
  zeros.cpu = oci::CpuResources{.shares = 0, .quota_us = 0, .period_us = 0};
  const ResourcesUpdate update = PlanUpdate(current, zeros);
  EXPECT_EQ(update.changes.memory->limit.value_or(0), 0);
  EXPECT_EQ(update.changes.memory->swap.value_or(0), 0);
  EXPECT_EQ(update.result.memory->limit, 100);
  EXPECT_EQ(update.result.memory->swap, 200);
}

TEST(ResourcesUpdate, MemoryAndSwapBelongTogether) {
  const oci::Resources current = Memory({.limit = 100, .swap = 200});
  ResourcesUpdate update = PlanUpdate(current, Memory({.swap = 300}));
  EXPECT_EQ(update.changes.memory->limit, 100);
  EXPECT_EQ(update.changes.memory->swap, 300);
  update = PlanUpdate(current, Memory({.limit = 150}));
  EXPECT_EQ(update.changes.memory->limit, 150);
  EXPECT_EQ(update.changes.memory->swap, 200);
  update = PlanUpdate(current, Memory({.limit = -1}));
  EXPECT_EQ(update.changes.memory->limit, -1);
  EXPECT_EQ(update.changes.memory->swap, -1);
  EXPECT_EQ(PlanUpdate(update.result, Memory({.limit = 50})).changes.memory->swap, -1);
}

TEST(ResourcesUpdate, QuotaAndPeriodBelongTogether) {
  const oci::Resources current = Cpu({.quota_us = 50000, .period_us = 100000});
  ResourcesUpdate update = PlanUpdate(current, Cpu({.quota_us = 20000}));
  EXPECT_EQ(update.changes.cpu->period_us, 100000u);
  EXPECT_EQ(update.changes.cpu->quota_us, 20000);
  update = PlanUpdate(update.result, Cpu({.shares = 512, .cpus = "0"}));
  EXPECT_FALSE(update.changes.cpu->quota_us);
  EXPECT_EQ(update.result.cpu->quota_us, 20000);
  EXPECT_EQ(update.result.cpu->cpus, "0");
}

TEST(ResourcesUpdate, AnIdleContainerKeepsItsWeightForLater) {
  ResourcesUpdate update = PlanUpdate(Cpu({.shares = 2048}), Cpu({.idle = 1}));
  EXPECT_FALSE(update.changes.cpu->shares);
  update = PlanUpdate(update.result, Cpu({.shares = 512}));
  EXPECT_FALSE(update.changes.cpu->shares);
  update = PlanUpdate(update.result, Cpu({.idle = 0}));
  EXPECT_EQ(update.changes.cpu->idle, 0);
  EXPECT_EQ(update.changes.cpu->shares, 512u);
  EXPECT_FALSE(PlanUpdate(update.result, Cpu({.quota_us = 1000})).changes.cpu->shares);
}

TEST(ResourcesUpdate, LimitsOfMemoryCanBeTakenBack) {
  const oci::Resources current = Memory({.limit = 100});
  EXPECT_FALSE(PlanUpdate(current, Cpu({.shares = 1})).memory_before.limit);
  const oci::MemoryResources before =
      PlanUpdate(current, Memory({.limit = 50, .reservation = 20, .swap = 80})).memory_before;
  EXPECT_EQ(before.limit, 100);
  EXPECT_EQ(before.reservation, -1);
  EXPECT_EQ(before.swap, -1);
}

TEST(ResourcesUpdate, RulesForDevicesStay) {
  oci::Resources update;
  update.devices = {{.allow = false}};
  EXPECT_TRUE(PlanUpdate({}, update).changes.devices.empty());
}

}  // namespace
}  // namespace kata::sandbox
