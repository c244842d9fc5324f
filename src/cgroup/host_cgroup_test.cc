// On the hierarchies that the machine has, and on directories that play some.
#include "cgroup/host_cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "base/process.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cgroup {
namespace {

using kata::test::IsError;
using testing::_;
using testing::HasSubstr;

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(30));
}

std::string TestName() {
  return fmt::format("kata-cgroup-test-{}", getpid());
}

class HostCgroupTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(hierarchies_, ReadHierarchies());
    if (hierarchies_.by_name.empty()) GTEST_FAIL() << "this machine has no control groups";
  }
  void TearDown() override { EXPECT_OK(cgroup_.Remove(Soon())); }
  Hierarchies hierarchies_;
  HostCgroup cgroup_;
};

TEST_F(HostCgroupTest, AProcessIsBornInAllOfThemAndTheyCanBeRemovedAfterIt) {
  const std::string path = "/" + TestName();
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, path, "c1"));
  EXPECT_EQ(cgroup_.directories().size(), hierarchies_.by_name.size());
  ASSERT_OK_AND_ASSIGN(const std::vector<UniqueFd> procs, cgroup_.OpenProcs());
  Command command{.program = "sleep", .args = {"1000"}};
  for (const UniqueFd& fd : procs) command.cgroup_procs_fds.push_back(fd.get());
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  for (const auto& [name, directory] : cgroup_.directories()) {
    ASSERT_OK_AND_ASSIGN(const std::string pids, ReadFile(directory + "/cgroup.procs"));
    EXPECT_EQ(pids, fmt::format("{}\n", child.pid())) << directory;
  }
  EXPECT_THAT(cgroup_.Remove(Deadline::After(std::chrono::milliseconds(20))), IsError(_, HasSubstr("busy")));
  ASSERT_OK(child.Terminate(std::chrono::seconds(0)));
  EXPECT_OK(cgroup_.Remove(Soon()));
  for (const auto& [name, directory] : cgroup_.directories()) EXPECT_FALSE(PathExists(directory));
  EXPECT_OK(cgroup_.Remove(Soon()));
}

TEST_F(HostCgroupTest, AProcessIsMovedIntoThem) {
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, "/" + TestName(), "c1"));
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Command{.program = "sleep", .args = {"1000"}}));
  EXPECT_EQ(cgroup_.CountProcesses(), 0u);
  ASSERT_OK(cgroup_.AddProcess(child.pid()));
  EXPECT_EQ(cgroup_.CountProcesses(), 1u);  // though it is in several
  for (const auto& [name, directory] : cgroup_.directories()) {
    EXPECT_EQ(*ReadFile(directory + "/cgroup.procs"), fmt::format("{}\n", child.pid())) << directory;
  }
}

TEST_F(HostCgroupTest, WithoutAPathItIsNamedAfterTheContainer) {
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, "", TestName()));
  for (const auto& [name, directory] : cgroup_.directories()) {
    EXPECT_TRUE(directory.ends_with("/" + TestName())) << directory;
    EXPECT_TRUE(PathExists(directory)) << directory;
  }
}

TEST_F(HostCgroupTest, APlanNamesWhatWillBeMadeAndMakesNothing) {
  ASSERT_OK_AND_ASSIGN(const HostCgroup plan, HostCgroup::Plan(hierarchies_, TestName() + "/a", "c1"));
  for (const auto& [name, directory] : plan.directories()) EXPECT_FALSE(PathExists(directory)) << directory;
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, TestName() + "/a", "c1"));
  EXPECT_EQ(cgroup_.directories(), plan.directories());
  for (const auto& [name, directory] : plan.directories()) {
    EXPECT_EQ(rmdir(directory.c_str()), 0) << directory;
    EXPECT_EQ(rmdir(directory.substr(0, directory.rfind('/')).c_str()), 0) << directory;
  }
}

TEST_F(HostCgroupTest, PathsThatLeadOutAreRefused) {
  for (const char* path : {"/a/../../b", "..", "/", "//."}) {
    EXPECT_THAT(HostCgroup::Create(hierarchies_, path, "c1"),
                IsError(Code::kInvalidArgument, HasSubstr("linux.cgroupsPath")))
        << path;
  }
}

TEST_F(HostCgroupTest, AFrozenOneIsRefused) {
  const std::string path = "/" + TestName();
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, path, "c1"));
  std::string state_file;
  for (const auto& [name, directory] : cgroup_.directories()) {
    for (const char* file : {"/freezer.state", "/cgroup.freeze"}) {
      if (PathExists(directory + file)) state_file = directory + file;
    }
  }
  ASSERT_FALSE(state_file.empty()) << "this machine cannot freeze control groups";
  const bool version1 = state_file.ends_with(".state");
  ASSERT_OK(WriteKnob(state_file, version1 ? "FROZEN" : "1"));
  for (const std::string& frozen : {path, path + "/below"}) {
    EXPECT_THAT(HostCgroup::Create(hierarchies_, frozen, "c1"),
                IsError(Code::kFailedPrecondition, HasSubstr("container's cgroup unexpectedly frozen")));
  }
  for (const auto& [name, directory] : cgroup_.directories()) EXPECT_FALSE(PathExists(directory + "/below"));
  ASSERT_OK(WriteKnob(state_file, version1 ? "THAWED" : "0"));
  EXPECT_OK(HostCgroup::Create(hierarchies_, path, "c1"));
}

TEST_F(HostCgroupTest, AQuotaThatTheGroupAboveDoesNotAllowIsNotRaised) {
  if (hierarchies_.unified || !hierarchies_.by_name.contains("cpu")) GTEST_SKIP() << "needs cgroup v1";
  const std::string path = "/" + TestName();
  ASSERT_OK_AND_ASSIGN(const HostCgroup parent, HostCgroup::Create(hierarchies_, path, "c1"));
  ASSERT_OK(parent.Apply({{"cpu", "cpu.cfs_quota_us", "5000"}}));
  ASSERT_OK_AND_ASSIGN(cgroup_, HostCgroup::Create(hierarchies_, path + "/c1", "c1"));
  oci::Resources resources;
  resources.cpu = oci::CpuResources{.quota_us = 5000};
  EXPECT_OK(cgroup_.Apply(PlanLimits(false, resources, {}).when_created));
  EXPECT_EQ(*ReadFile(cgroup_.directories().at("cpu") + "/cpu.cfs_quota_us"), "5000\n");
  EXPECT_OK(cgroup_.Remove(Soon()));
  EXPECT_OK(parent.Remove(Soon()));
}

// A hierarchy played by a directory: the kernel's files are plain ones.
class PlayedCgroupTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    cgroup_ = HostCgroup({{"memory", dir_->path()}});
  }
  void AddFile(const std::string& name, const std::string& content) {
    ASSERT_OK(WriteFileAtomic(dir_->path() + "/" + name, content));
  }
  std::string Read(const std::string& name) { return *ReadFile(dir_->path() + "/" + name); }
  std::optional<TempDir> dir_;
  HostCgroup cgroup_;
};

TEST_F(PlayedCgroupTest, LimitsAreWrittenToTheirController) {
  AddFile("memory.limit_in_bytes", "");
  EXPECT_OK(cgroup_.Apply({{"memory", "memory.limit_in_bytes", "42"}, {"cpu", "cpu.shares", "2"}}));
  EXPECT_EQ(Read("memory.limit_in_bytes"), "42");
}

TEST_F(PlayedCgroupTest, AMissingFileMattersWhereNobodyElseEnforcesTheLimit) {
  EXPECT_OK(cgroup_.Apply({{"memory", "memory.memsw.limit_in_bytes", "42"}}));
  EXPECT_THAT(cgroup_.Apply({{"memory", "memory.x", "42", true}}),
              IsError(Code::kNotFound, HasSubstr("memory.x")));
  EXPECT_THAT(cgroup_.Apply({{"cpuset", "cpuset.cpus", "7", true}}),
              IsError(Code::kFailedPrecondition, HasSubstr("cpuset.cpus to '7'")));
}

TEST_F(PlayedCgroupTest, OomKillsAreCounted) {
  EXPECT_EQ(cgroup_.OomKills(), 0u);
  AddFile("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  EXPECT_EQ(cgroup_.OomKills(), 3u);
}

TEST_F(PlayedCgroupTest, ProcessesOfGroupsBelowAreCounted) {
  EXPECT_EQ(cgroup_.CountProcesses(), 0u);
  ASSERT_OK(MakeDirectories(dir_->path() + "/below/deeper"));
  AddFile("cgroup.procs", "10\n11\n");
  AddFile("below/cgroup.procs", "");
  AddFile("below/deeper/cgroup.procs", "12\n");
  EXPECT_EQ(cgroup_.CountProcesses(), 3u);
}

TEST(HostCgroup, NoneIsFine) {
  const HostCgroup none;
  EXPECT_OK(none.Apply({{"cpuset", "cpuset.cpus", "7", true}}));
  EXPECT_OK(none.Remove(Soon()));
  EXPECT_EQ(none.OomKills(), 0u);
  EXPECT_EQ(none.CountProcesses(), 0u);
}

}  // namespace
}  // namespace kata::cgroup
