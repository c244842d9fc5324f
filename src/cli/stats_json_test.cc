#include "cli/stats_json.h"

#include <gtest/gtest.h>

namespace kata::cli {
namespace {

TEST(StatsJson, HasRuncsForm) {
  grpc::StatsContainerResponse stats;
  grpc::CgroupStats& cgroup = *stats.mutable_cgroup_stats();
  cgroup.mutable_cpu_stats()->mutable_cpu_usage()->set_total_usage(100);
  cgroup.mutable_cpu_stats()->mutable_cpu_usage()->set_usage_in_usermode(60);
  cgroup.mutable_memory_stats()->mutable_usage()->set_limit(1000);
  cgroup.mutable_memory_stats()->mutable_usage()->set_usage(10);
  cgroup.mutable_memory_stats()->mutable_swap_usage()->set_limit(500);
  cgroup.mutable_memory_stats()->mutable_swap_usage()->set_usage(3);
  (*cgroup.mutable_memory_stats()->mutable_stats())["anon"] = 5;
  grpc::PressureData& some = *cgroup.mutable_memory_stats()->mutable_psi()->mutable_some();
  some.set_avg10(0.5);
  some.set_total(12);
  cgroup.mutable_pids_stats()->set_current(2);
  grpc::BlkioStatsEntry& entry = *cgroup.mutable_blkio_stats()->add_io_service_bytes_recursive();
  entry.set_major(8);
  entry.set_op("Read");
  entry.set_value(512);
  (*cgroup.mutable_hugetlb_stats())["2MB"].set_usage(7);
  EXPECT_EQ(StatsEvent("c1", stats).dump(),
            R"({"type":"stats","id":"c1","data":{"cpu":{"usage":{"total":100,"kernel":0,"user":60},)"
            R"("throttling":{}},"memory":{"usage":{"limit":1000,"usage":10,"failcnt":0},)"
            R"("swap":{"limit":1500,"usage":13,"failcnt":0},"kernel":{"limit":0,"failcnt":0},)"
            R"("kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":5},)"
            R"("psi":{"some":{"avg10":0.5,"avg60":0.0,"avg300":0.0,"total":12},)"
            R"("full":{"avg10":0.0,"avg60":0.0,"avg300":0.0,"total":0}}},"pids":{"current":2},)"
            R"("blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":512}]},)"
            R"("hugetlb":{"2MB":{"usage":7,"failcnt":0}},"intel_rdt":{},"network_interfaces":null}})");
}

TEST(StatsJson, Oom) {
  EXPECT_EQ(OomEvent("c1").dump(), R"({"type":"oom","id":"c1"})");
}

}  // namespace
}  // namespace kata::cli
