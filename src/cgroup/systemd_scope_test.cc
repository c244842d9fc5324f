// With a busctl that only records what it is asked: systemd itself is needed by nothing here.
#include "cgroup/systemd_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cgroup {
namespace {

using kata::test::IsError;
using testing::HasSubstr;
using testing::StartsWith;

class SystemdScopeTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    path_ = getenv("PATH");
    setenv("PATH", (dir_->path() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }
  void PlayBusctl(const std::string& script) {
    ASSERT_OK(WriteFileAtomic(dir_->path() + "/busctl",
                              "#!/bin/sh\necho \"$@\" >> " + dir_->path() + "/calls\n" + script + "\n",
                              0755));
  }
  std::string Calls() { return *ReadFile(dir_->path() + "/calls"); }
  static Deadline Soon() { return Deadline::After(std::chrono::seconds(30)); }
  std::optional<TempDir> dir_;
  std::string path_;
};

TEST_F(SystemdScopeTest, IsStartedWithItsFirstProcess) {
  PlayBusctl("exit 0");
  ASSERT_OK_AND_ASSIGN(const SystemdScope scope, MakeScopeName("a-b.slice:docker:c1", "c1"));
  EXPECT_EQ(scope.path, "/a.slice/a-b.slice/docker-c1.scope");
  // This process is not moved by anybody.
  EXPECT_THAT(StartScope(scope, getpid(), Deadline::After(std::chrono::milliseconds(20))),
              IsError(Code::kDeadlineExceeded, HasSubstr("'docker-c1.scope' of systemd")));
  EXPECT_EQ(Calls(),
            fmt::format(
                "--system --quiet -- call org.freedesktop.systemd1 /org/freedesktop/systemd1 "
                "org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv)) docker-c1.scope fail 9 "
                "Description s Kata container Slice s a-b.slice Delegate b true DefaultDependencies b false "
                "CollectMode s inactive-or-failed CPUAccounting b true MemoryAccounting b true "
                "TasksAccounting b true PIDs au 1 {} 0\n",
                getpid()));
}

TEST_F(SystemdScopeTest, HasThePropertiesOfItsContainer) {
  PlayBusctl("exit 0");
  ASSERT_OK_AND_ASSIGN(SystemdScope scope, MakeScopeName(":docker:c1", "c1"));
  scope.properties = {{"TimeoutStopUSec", {"t", "5"}}, {"After", {"as", "1", "a.service"}}};
  EXPECT_THAT(StartScope(scope, getpid(), Deadline::After(std::chrono::milliseconds(20))),
              test::IsErrorCode(Code::kDeadlineExceeded));
  EXPECT_THAT(Calls(), HasSubstr("docker-c1.scope fail 11 Description"));
  EXPECT_THAT(Calls(),
              HasSubstr(fmt::format("PIDs au 1 {} TimeoutStopUSec t 5 After as 1 a.service 0\n", getpid())));
}

// Played by a shell that reads options as getopt_long(3) does.
TEST_F(SystemdScopeTest, WordsOfTheEngineAreNoOptions) {
  PlayBusctl("getopt -o '' -l system,quiet,address: -- \"$@\" >> " + dir_->path() + "/read");
  ASSERT_OK_AND_ASSIGN(SystemdScope scope, MakeScopeName("--address=a.slice:docker:c1", "c1"));
  scope.properties = {{"Description", {"s", "--address=unixexec:path=/bin/sh"}}, {"Nice", {"i", "-5"}}};
  EXPECT_THAT(StartScope(scope, getpid(), Deadline::After(std::chrono::milliseconds(20))),
              test::IsErrorCode(Code::kDeadlineExceeded));
  ASSERT_OK_AND_ASSIGN(const std::string read, ReadFile(dir_->path() + "/read"));
  EXPECT_THAT(read, StartsWith(" --system --quiet -- 'call' ")) << "no other option is seen";
  EXPECT_THAT(read, HasSubstr("'Slice' 's' '--address=a.slice'"));
  EXPECT_THAT(read, HasSubstr("'Description' 's' '--address=unixexec:path=/bin/sh' 'Nice' 'i' '-5'"));
}

TEST_F(SystemdScopeTest, SystemdsWordsAreTheError) {
  PlayBusctl("echo 'Call failed: Unit docker-c1.scope already exists.' >&2; exit 1");
  ASSERT_OK_AND_ASSIGN(const SystemdScope scope, MakeScopeName(":docker:c1", "c1"));
  EXPECT_THAT(StartScope(scope, getpid(), Soon()),
              IsError(Code::kAborted, HasSubstr("Unit docker-c1.scope already exists.")));
  EXPECT_THAT(StopScope(scope.unit, Soon()),
              IsError(Code::kAborted, HasSubstr("stop scope 'docker-c1.scope'")));
  PlayBusctl("echo 'Call failed: Unit docker-c1.scope not loaded.' >&2; exit 1");
  EXPECT_OK(StopScope(scope.unit, Soon()));
}

TEST(SystemdScopeName, TakesSystemdsFormOnly) {
  ASSERT_OK_AND_ASSIGN(const SystemdScope scope, MakeScopeName("", "c1"));
  EXPECT_EQ(scope.slice, "system.slice");
  EXPECT_EQ(scope.unit, "kata-c1.scope");
  EXPECT_EQ(scope.path, "/system.slice/kata-c1.scope");
  for (const char* path : {"/docker/c1", "c1", "a.slice::b.slice"}) {
    EXPECT_THAT(MakeScopeName(path, "c1"), IsError(Code::kInvalidArgument, HasSubstr("slice:prefix:name")))
        << path;
  }
}

}  // namespace
}  // namespace kata::cgroup
