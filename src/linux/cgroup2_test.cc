// Tests of linux/cgroup2.h.
#include "linux/cgroup2.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/file.h"
#include "base/process.h"
#include "linux/mountinfo.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;
using testing::ElementsAre;

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(20));
}

class Cgroup2Test : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_OK_AND_ASSIGN(const std::vector<MountInfo> mounts, ReadMountInfo());
    for (const MountInfo& mount : mounts) {
      if (mount.fs_type == "cgroup2" && !mount.HasOption("ro")) root_ = mount.mount_point;
    }
    if (root_.empty()) GTEST_SKIP() << "needs a cgroup2 file system";
    path_ = fmt::format("/kata-test-{}", getpid());
  }
  void TearDown() override {
    if (root_.empty()) return;
    EXPECT_FALSE(PathExists(root_ + path_));
  }
  static Result<ChildProcess> StartSleeper() {
    Command command;
    command.program = "sleep";
    command.args = {"1000"};
    return Spawn(command);
  }
  std::string root_;
  std::string path_;
};

TEST_F(Cgroup2Test, HoldsFreezesKillsAndIsRemoved) {
  ASSERT_OK_AND_ASSIGN(CgroupDir cgroup, CgroupDir::Create(root_, path_ + "/a/b"));
  ASSERT_OK_AND_ASSIGN(ChildProcess child, StartSleeper());
  ASSERT_OK(cgroup.AddProcess(child.pid()));
  ASSERT_OK_AND_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  EXPECT_THAT(pids, ElementsAre(child.pid()));
  ASSERT_OK_AND_ASSIGN(const bool populated, cgroup.Populated());
  EXPECT_TRUE(populated);

  ASSERT_OK(cgroup.Freeze(Soon()));
  ASSERT_OK(cgroup.Thaw(Soon()));
  ASSERT_OK(cgroup.Freeze(Soon()));
  ASSERT_OK(cgroup.Kill());
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Wait(Soon()));
  EXPECT_EQ(status.signal, SIGKILL);
  ASSERT_OK_AND_ASSIGN(CgroupDir parent, CgroupDir::Open(root_ + path_));
  ASSERT_OK(parent.Remove(Soon()));
  EXPECT_OK(cgroup.Remove(Soon()));
}

TEST_F(Cgroup2Test, RemoveGivesUpWhileProcessesLive) {
  ASSERT_OK_AND_ASSIGN(CgroupDir cgroup, CgroupDir::Create(root_, path_));
  ASSERT_OK_AND_ASSIGN(ChildProcess child, StartSleeper());
  ASSERT_OK(cgroup.AddProcess(child.pid()));
  EXPECT_THAT(cgroup.Remove(Deadline::After(std::chrono::milliseconds(30))),
              test::IsError(testing::_, testing::HasSubstr("remove cgroup")));
  ASSERT_OK(cgroup.Kill());
  ASSERT_OK(child.Wait(Soon()));
  EXPECT_OK(cgroup.Remove(Soon()));
}

// What a container makes that may make cgroups; with these names the path is longer than PATH_MAX.
TEST_F(Cgroup2Test, AreCountedAndRemovedHoweverDeep) {
  constexpr int kDepth = 80;
  ASSERT_OK_AND_ASSIGN(CgroupDir cgroup, CgroupDir::Create(root_, path_));
  ASSERT_OK_AND_ASSIGN(ChildProcess child, StartSleeper());
  UniqueFd current(openat(cgroup.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int depth = 0; depth < kDepth; ++depth) {
    const std::string name(200, static_cast<char>('a' + depth % 26));
    ASSERT_EQ(mkdirat(current.get(), name.c_str(), 0755), 0) << depth << ": " << strerror(errno);
    current.Reset(openat(current.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(current.valid());
  }
  ASSERT_OK(WriteKnobAt(current.get(), "cgroup.procs", fmt::format("{}", child.pid())));
  ASSERT_OK_AND_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  EXPECT_THAT(pids, ElementsAre(child.pid()));
  ASSERT_OK(cgroup.Kill());
  ASSERT_OK(child.Wait(Soon()));
  EXPECT_OK(cgroup.Remove(Soon()));
}

TEST_F(Cgroup2Test, FilesAreReadAndErrorsNamed) {
  ASSERT_OK_AND_ASSIGN(CgroupDir cgroup, CgroupDir::Create(root_, path_));
  ASSERT_OK_AND_ASSIGN(const uint64_t depth, cgroup.ReadNumber("cgroup.max.depth"));
  EXPECT_EQ(depth, UINT64_MAX);
  ASSERT_OK(cgroup.Write("cgroup.max.depth", "5"));
  ASSERT_OK_AND_ASSIGN(const std::string text, cgroup.Read("cgroup.max.depth"));
  EXPECT_EQ(text, "5");
  ASSERT_OK_AND_ASSIGN(const auto events, cgroup.ReadKeyedNumbers("cgroup.events"));
  EXPECT_EQ(events.at("populated"), 0u);
  EXPECT_THAT(cgroup.Write("no.such", "1"),
              test::IsError(Code::kNotFound, testing::HasSubstr("set 'no.such' to '1'")));
  EXPECT_THAT(cgroup.ReadNumber("cgroup.type"), test::IsErrorCode(Code::kInternal));
  EXPECT_OK(cgroup.OomKills());
  EXPECT_OK(cgroup.Remove(Soon()));
}

TEST_F(Cgroup2Test, BadPathsAreRefused) {
  EXPECT_THAT(CgroupDir::Create(root_, "/a/../../x"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CgroupDir::Create(root_, "/"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CgroupDir::Create("/tmp", "/x"), IsErrorCode(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace kata::linux
