// Statistics from cgroup files.
#include "agent/stats.h"

#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "linux/cgroup2.h"
#include "linux/mounts.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

TEST(ParseIoStat, ReadsBytesAndOperationsOfEachDevice) {
  grpc::BlkioStats stats;
  ParseIoStat(
      "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0 cost.usage=7\n8:16 rbytes=1 wbytes=x\n"
      "nonsense\n:1 rbytes=3\n",
      stats);
  ASSERT_EQ(stats.io_service_bytes_recursive_size(), 4);
  EXPECT_EQ(stats.io_service_bytes_recursive(1).major(), 254u);
  EXPECT_EQ(stats.io_service_bytes_recursive(1).minor(), 0u);
  EXPECT_EQ(stats.io_service_bytes_recursive(1).op(), "Write");
  EXPECT_EQ(stats.io_service_bytes_recursive(1).value(), 8192u);
  EXPECT_EQ(stats.io_service_bytes_recursive(3).major(), 8u);
  EXPECT_EQ(stats.io_service_bytes_recursive(3).op(), "Read");
  ASSERT_EQ(stats.io_serviced_size(), 3);
  EXPECT_EQ(stats.io_serviced(0).value(), 1u);
}

TEST(ParsePressure, ReadsBothLines) {
  const grpc::PressureStats stats = ParsePressure(
      "some avg10=1.50 avg60=0.25 avg300=x total=345\nfull avg10=0.00 avg60=0.00 avg300=2.00 total=6\nnew "
      "1\n");
  EXPECT_EQ(stats.some().avg10(), 1.5);
  EXPECT_EQ(stats.some().avg60(), 0.25);
  EXPECT_EQ(stats.some().avg300(), 0);
  EXPECT_EQ(stats.some().total(), 345u);
  EXPECT_EQ(stats.full().avg300(), 2);
  EXPECT_EQ(stats.full().total(), 6u);
}

class StatsTest : public test::LeakCheckedTest {};

TEST_F(StatsTest, ReadsTheCpuTimeOfACgroup) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  // Version 2 can be mounted beside version 1, whose controllers it then lacks.
  if (!linux::Mount("cgroup2", directory.path(), "cgroup2", 0)) GTEST_SKIP() << "needs cgroup v2";
  const linux::ScopedMount mounted(directory.path());
  ASSERT_OK_AND_ASSIGN(const grpc::StatsContainerResponse stats, ReadCgroupStats(directory.path()));
  EXPECT_GT(stats.cgroup_stats().cpu_stats().cpu_usage().total_usage(), 0u);
}

TEST_F(StatsTest, AMissingCgroupIsAnError) {
  EXPECT_THAT(ReadCgroupStats("/sys/fs/cgroup/nosuch"), test::IsErrorCode(Code::kNotFound));
}

}  // namespace
}  // namespace kata::agent
