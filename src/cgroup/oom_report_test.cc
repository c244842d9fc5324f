// On the memory hierarchy that the machine has.
#include "cgroup/oom_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "base/process.h"
#include "cgroup/flat_keyed_file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cgroup {
namespace {

using kata::test::IsErrorCode;

class OomReportTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(const Hierarchies hierarchies, ReadHierarchies());
    ASSERT_OK_AND_ASSIGN(cgroup_,
                         HostCgroup::Create(hierarchies, fmt::format("/kata-oom-test-{}", getpid()), "c1"));
    Command command{.program = "sleep", .args = {"1000"}};
    ASSERT_OK_AND_ASSIGN(const std::vector<UniqueFd> procs, cgroup_.OpenProcs());
    for (const UniqueFd& fd : procs) command.cgroup_procs_fds.push_back(fd.get());
    ASSERT_OK_AND_ASSIGN(bystander_, Spawn(command));
  }
  void TearDown() override {
    ASSERT_OK(bystander_.Terminate(std::chrono::seconds(0)));
    EXPECT_OK(cgroup_.Remove(Soon()));
  }
  static Deadline Soon() { return Deadline::After(std::chrono::seconds(30)); }
  std::string Limit() const {
    const std::string* const directory = cgroup_.FindController("memory");
    if (directory == nullptr) return "";
    return ReadFile(*directory + (cgroup_.unified() ? "/memory.max" : "/memory.limit_in_bytes")).value_or("");
  }

  HostCgroup cgroup_;
  ChildProcess bystander_;
};

TEST_F(OomReportTest, IsAnOomKillInTheGroupThatHurtsNobody) {
  const std::string limit = Limit();
  ASSERT_OK(ReportOomKill(cgroup_, {bystander_.pid()}, Soon()));
  EXPECT_EQ(cgroup_.OomKills(), cgroup_.FindController("memory") != nullptr ? 1u : 0u);
  ASSERT_OK_AND_ASSIGN(const std::optional<ExitStatus> status, bystander_.TryWait());
  EXPECT_FALSE(status.has_value());
  EXPECT_EQ(Limit(), limit);
}

// As on a volume in memory.
TEST_F(OomReportTest, LeavesTheRestAliveBesideFilesInMemory) {
  const std::string* const directory = cgroup_.FindController("memory");
  if (directory == nullptr) return;
  constexpr size_t kFileBytes = 100u << 20;
  const UniqueFd file(memfd_create("volume", MFD_CLOEXEC));
  Command writer{.program = "dd",
                 .args = {"if=/dev/zero", "bs=1M", fmt::format("count={}", kFileBytes >> 20), "status=none"}};
  writer.stdout_fd = file.get();
  ASSERT_OK_AND_ASSIGN(const std::vector<UniqueFd> procs, cgroup_.OpenProcs());
  for (const UniqueFd& fd : procs) writer.cgroup_procs_fds.push_back(fd.get());
  ASSERT_OK_AND_ASSIGN(ChildProcess process, Spawn(writer));
  ASSERT_OK(process.Wait(Soon()));
  ASSERT_GE(FindNumber(ReadFile(*directory + "/memory.stat").value_or(""), "shmem"), kFileBytes);
  ASSERT_OK(ReportOomKill(cgroup_, {bystander_.pid()}, Soon()));
  EXPECT_EQ(cgroup_.OomKills(), 1u);
  ASSERT_OK_AND_ASSIGN(const std::optional<ExitStatus> status, bystander_.TryWait());
  EXPECT_FALSE(status.has_value());
}

TEST_F(OomReportTest, IsRefusedWhereOthersLive) {
  if (cgroup_.FindController("memory") == nullptr) return;
  EXPECT_THAT(ReportOomKill(cgroup_, {}, Deadline::After(std::chrono::milliseconds(50))),
              IsErrorCode(Code::kFailedPrecondition));
  EXPECT_EQ(cgroup_.OomKills(), 0u);
}

}  // namespace
}  // namespace kata::cgroup
