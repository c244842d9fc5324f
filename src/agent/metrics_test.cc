#include "agent/metrics.h"

#include <string>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class MetricsTest : public test::LeakCheckedTest {};

TEST_F(MetricsTest, TellsOfThisMachine) {
  const std::string text = ReadMetrics(3);
  EXPECT_THAT(text, HasSubstr("# TYPE kata_agent_scrape_count counter\nkata_agent_scrape_count 3\n"));
  for (const char* name :
       {"kata_agent_threads", "kata_agent_total_time", "kata_agent_total_vm", "kata_agent_total_rss",
        "kata_agent_process_cpu_seconds_total", "kata_agent_process_max_fds", "kata_agent_process_open_fds",
        "kata_agent_process_resident_memory_bytes", "kata_agent_process_start_time_seconds",
        "kata_agent_process_virtual_memory_bytes"}) {
    EXPECT_THAT(text, ContainsRegex(std::string("\n") + name + " [1-9]|\n" + name + " 0\\.[0-9]+\n"));
  }
  EXPECT_THAT(text, ContainsRegex("kata_agent_proc_status.item=\"vmrss\". [1-9]"));
  EXPECT_THAT(text, ContainsRegex("kata_guest_netdev_stat.interface=\"lo\",item=\"recv_bytes\". [0-9]"));
  EXPECT_THAT(text, ContainsRegex("kata_guest_meminfo.item=\"mem_total\". [1-9]"));
}

TEST_F(MetricsTest, ReadsTheKernelsForms) {
  ASSERT_OK_AND_ASSIGN(const TempDir proc, TempDir::Create());
  ASSERT_OK(MakeDirectories(proc.path() + "/net"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/loadavg", "0.50 1.25 2.00 3/151 4242\n"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/stat", "cpu  10 1 2\ncpu0 5 1 1\nbtime 1000\n"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/meminfo",
                            "MemTotal:  2048 kB\nActive(anon):  1 kB\nHugePages_Total:  7\n"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/vmstat", "nr_free_pages 99\n"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/net/dev", "head\n face |bytes\n  e\"0: 11 22\n"));
  ASSERT_OK(WriteFileAtomic(proc.path() + "/diskstats", " 253 0 vda 1 2 3 4 5 6 7 8 0 9 10\n"));
  const std::string text = ReadMetrics(1, proc.path());
  for (const char* line :
       {"kata_guest_load{item=\"load5\"} 1.25\n", "kata_guest_tasks{item=\"cur\"} 3\n",
        "kata_guest_tasks{item=\"max\"} 151\n", "kata_guest_cpu_time{cpu=\"total\",item=\"user\"} 10\n",
        "kata_guest_cpu_time{cpu=\"0\",item=\"system\"} 1\n",
        "kata_guest_meminfo{item=\"mem_total\"} 2097152\n", "kata_guest_meminfo{item=\"active_anon\"} 1024\n",
        "kata_guest_meminfo{item=\"huge_pages_total\"} 7\n",
        "kata_guest_vm_stat{item=\"nr_free_pages\"} 99\n",
        "kata_guest_netdev_stat{interface=\"e\\\"0\",item=\"recv_packets\"} 22\n",
        "kata_guest_diskstat{disk=\"vda\",item=\"sectors_read\"} 3\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("kata_agent_threads"))) << "what is not there is left out";
}

}  // namespace
}  // namespace kata::agent
