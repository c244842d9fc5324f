// Removals of one container that meet each other, and one of a later container with its id.
#include "sandbox/removal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/deadline.h"
#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsErrorCode;

// A removal has to stop a scope of systemd, which it does by way of busctl(1): the first one that tries does
// not get on before the test wants it to.
class RemovalTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    ASSERT_OK(WriteFileAtomic(
        Path("busctl"),
        fmt::format(
            "#!/bin/sh\nmkdir {0}/stalled 2>/dev/null || exit 0\n"
            "for i in $(seq 6000); do [ -e {0}/go ] || [ ! -e {0}/stalled ] && exit 0; sleep 0.01; done\n",
            dir_->path()),
        0755));
    ASSERT_OK(
        WriteFileAtomic(Path("hook"), fmt::format("#!/bin/sh\necho ran >> {}/trace\n", dir_->path()), 0755));
    std::signal(SIGPIPE, SIG_IGN);  // as hooks require
    path_ = getenv("PATH");
    setenv("PATH", (dir_->path() + ":" + path_).c_str(), 1);

    ASSERT_OK_AND_ASSIGN(StateDirectory directory, StateDirectory::Create(Path("root"), "c1"));
    directory_.emplace(std::move(directory));
    ContainerState state;
    state.id = "c1";
    state.bundle = dir_->path();
    state.systemd_unit = "kata-c1.scope";
    ASSERT_OK(directory_->WriteState(state));
    ASSERT_OK(directory_->WriteHooks({.poststop = {{.path = Path("hook"), .args = {"hook"}}}}));
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }

  std::string Path(const std::string& name) const { return dir_->path() + "/" + name; }
  void AwaitStalled() {
    const Deadline deadline = Deadline::After(std::chrono::seconds(60));
    while (!PathExists(Path("stalled")) && !deadline.Passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_TRUE(PathExists(Path("stalled")));
  }
  void LetGo() { ASSERT_OK(WriteFileAtomic(Path("go"), "")); }

  std::optional<TempDir> dir_;
  std::string path_;
  std::optional<StateDirectory> directory_;
};

TEST_F(RemovalTest, AnotherOneWaitsSoThatASlowOneNeverMeetsALaterContainer) {
  std::thread first([&] { EXPECT_OK(RemoveTraces(*directory_)); });
  AwaitStalled();
  std::atomic<bool> done = false;
  std::thread second([&] {
    EXPECT_OK(RemoveTraces(*directory_));
    done = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_FALSE(done);
  EXPECT_THAT(StateDirectory::Create(Path("root"), "c1"), IsErrorCode(Code::kAlreadyExists));
  LetGo();
  second.join();
  EXPECT_FALSE(directory_->IsCurrent());
  ASSERT_OK_AND_ASSIGN(const StateDirectory later, StateDirectory::Create(Path("root"), "c1"));
  first.join();
  EXPECT_TRUE(later.IsCurrent());
  EXPECT_EQ(*ReadFile(Path("trace")), "ran\n") << "hooks run once";
}

TEST_F(RemovalTest, OneThatIsKilledIsTakenUpByTheNext) {
  const pid_t killed = fork();
  if (killed == 0) {
    (void)RemoveTraces(*directory_);
    _exit(0);
  }
  AwaitStalled();
  kill(killed, SIGKILL);
  ASSERT_EQ(waitpid(killed, nullptr, 0), killed);
  EXPECT_OK(RemoveTraces(*directory_));
  EXPECT_FALSE(PathExists(directory_->path()));
  EXPECT_EQ(*ReadFile(Path("trace")), "ran\n");
  LetGo();
}

}  // namespace
}  // namespace kata::sandbox
