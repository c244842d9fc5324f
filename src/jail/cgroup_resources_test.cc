// Tests of jail/cgroup_resources.h.
#include "jail/cgroup_resources.h"

#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<CgroupWrite> Plan(const oci::Resources& resources, const std::string& cpu_max = "max 100000") {
  Result<std::vector<CgroupWrite>> writes = PlanCgroupWrites(resources, cpu_max);
  EXPECT_OK(writes);
  return writes ? *writes : std::vector<CgroupWrite>();
}

TEST(CgroupResourcesTest, NothingAskedNothingWritten) {
  EXPECT_THAT(Plan({}), IsEmpty());
  oci::Resources zeros;
  zeros.memory = oci::MemoryResources{.limit = 0, .reservation = 0, .swap = 0};
  zeros.cpu = oci::CpuResources{.shares = 0, .quota_us = 0, .period_us = 0};
  zeros.pids_limit = 0;
  EXPECT_THAT(Plan(zeros), IsEmpty());
}

TEST(CgroupResourcesTest, MemoryAndSwap) {
  oci::Resources resources;
  resources.memory = oci::MemoryResources{.limit = 1000, .reservation = 500, .swap = 1500};
  EXPECT_THAT(Plan(resources),
              ElementsAre(CgroupWrite{"memory.swap.max", "500"}, CgroupWrite{"memory.max", "1000"},
                          CgroupWrite{"memory.low", "500"}));
  resources.memory = oci::MemoryResources{.limit = 1000, .swap = 1000};
  EXPECT_THAT(Plan(resources),
              ElementsAre(CgroupWrite{"memory.swap.max", "0", true}, CgroupWrite{"memory.max", "1000"}));
  resources.memory = oci::MemoryResources{.limit = -1};
  EXPECT_THAT(Plan(resources),
              ElementsAre(CgroupWrite{"memory.swap.max", "max", true}, CgroupWrite{"memory.max", "max"}));
  resources.memory = oci::MemoryResources{.limit = 1000, .swap = 999};
  EXPECT_THAT(PlanCgroupWrites(resources), IsError(Code::kInvalidArgument, HasSubstr("memory.swap 999")));
  resources.memory = oci::MemoryResources{.swap = 999};
  EXPECT_THAT(PlanCgroupWrites(resources), test::IsErrorCode(Code::kInvalidArgument));
}

TEST(CgroupResourcesTest, CpuLimits) {
  oci::Resources resources;
  resources.cpu = oci::CpuResources{.shares = 1024,
                                    .quota_us = 50000,
                                    .burst_us = 1000,
                                    .period_us = 200000,
                                    .cpus = "0-1",
                                    .mems = "0",
                                    .idle = 0};
  EXPECT_THAT(
      Plan(resources),
      ElementsAre(CgroupWrite{"cpu.idle", "0", true}, CgroupWrite{"cpu.weight", "100"},
                  CgroupWrite{"cpu.max.burst", "1000", false, true}, CgroupWrite{"cpu.max", "50000 200000"},
                  CgroupWrite{"cpuset.cpus", "0-1"}, CgroupWrite{"cpuset.mems", "0"}));
  resources.cpu = oci::CpuResources{.shares = 1024, .idle = 1};
  EXPECT_THAT(Plan(resources), ElementsAre(CgroupWrite{"cpu.idle", "1"}));
  resources.cpu = oci::CpuResources{.quota_us = -1};
  EXPECT_THAT(Plan(resources), ElementsAre(CgroupWrite{"cpu.max", "max"}));
  resources.cpu = oci::CpuResources{.period_us = 50000};
  EXPECT_THAT(Plan(resources, "20000 100000"), ElementsAre(CgroupWrite{"cpu.max", "20000 50000"}));
}

TEST(CgroupResourcesTest, TheOtherControllers) {
  oci::Resources resources;
  resources.pids_limit = -1;
  resources.block_io = oci::BlockIoResources();
  resources.block_io->weight = 1000;
  resources.block_io->throttle_read_bps_device = {{8, 0, 1024}};
  resources.block_io->throttle_write_iops_device = {{8, 16, 0}};
  resources.hugepage_limits = {{"2MB", 4096}};
  resources.rdma["mlx5_1"] = oci::RdmaLimit{3, 4};
  resources.unified = {{"memory.high", "100"}};
  EXPECT_THAT(
      Plan(resources),
      ElementsAre(CgroupWrite{"pids.max", "max"}, CgroupWrite{"io.weight", "default 10000"},
                  CgroupWrite{"io.max", "8:0 rbps=1024"}, CgroupWrite{"io.max", "8:16 wiops=max"},
                  CgroupWrite{"hugetlb.2MB.max", "4096"}, CgroupWrite{"hugetlb.2MB.rsvd.max", "4096", true},
                  CgroupWrite{"rdma.max", "mlx5_1 hca_handle=3 hca_object=4"},
                  CgroupWrite{"memory.high", "100"}));
}

TEST(CgroupResourcesTest, UnifiedNamesOnlyControllerFiles) {
  for (const char* name : {"../memory.max", "cgroup.procs", "nodot"}) {
    oci::Resources resources;
    resources.unified = {{name, "1"}};
    EXPECT_THAT(PlanCgroupWrites(resources), test::IsErrorCode(Code::kInvalidArgument)) << name;
  }
}

TEST(CgroupResourcesTest, WhoseMemoryWasTooLittle) {
  EXPECT_EQ(
      KilledForMemory("4194304").message(),
      "linux.resources.memory.limit: 4194304 bytes are too few: the container's first process was killed "
      "for lack of memory before its start");
  const Error of_the_guest = KilledForMemory("max");
  EXPECT_EQ(of_the_guest.code(), Code::kResourceExhausted);
  EXPECT_EQ(
      of_the_guest.message(),
      "the guest has no memory left: the container's first process was killed for lack of memory before its "
      "start");
}

}  // namespace
}  // namespace kata::jail
