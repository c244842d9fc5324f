// The reaper: statuses of watched children, orphans, and children that somebody else waits for.
#include "agent/reaper.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <optional>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ReaperTest : public test::LeakCheckedTest {
 protected:
  ~ReaperTest() override { pthread_sigmask(SIG_SETMASK, &mask_, nullptr); }

  static sigset_t CurrentMask() {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return mask;
  }
  static Result<ChildProcess> Shell(const std::string& script) {
    Command command;
    command.program = "/bin/sh";
    command.args = {"-c", script};
    return Spawn(command);
  }
  // Runs the loop until `done` or 30 s have passed.
  bool RunUntil(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::After(seconds(30));
    while (!done() && !deadline.Passed()) loop_.context().run_for(milliseconds(10));
    return done();
  }
  static bool IsChild(pid_t pid) {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
  }

  const sigset_t mask_ = CurrentMask();
  EventLoop loop_;
};

TEST_F(ReaperTest, DeliversEachStatusOnce) {
  Reaper reaper(loop_);
  int calls = 0;
  std::optional<ExitStatus> exited, killed;
  ASSERT_OK_AND_ASSIGN(ChildProcess first, Shell("exit 7"));
  ASSERT_OK(reaper.Watch(std::move(first), [&](ExitStatus status) {
    exited = status;
    ++calls;
  }));
  ASSERT_OK_AND_ASSIGN(ChildProcess second, Shell("kill -9 $$"));
  ASSERT_OK(reaper.Watch(std::move(second), [&](ExitStatus status) {
    killed = status;
    ++calls;
  }));
  ASSERT_TRUE(RunUntil([&] { return exited && killed; }));
  EXPECT_EQ(exited->ShellCode(), 7);
  EXPECT_EQ(killed->ShellCode(), 137);
  loop_.context().run_for(milliseconds(50));
  EXPECT_EQ(calls, 2);
}

TEST_F(ReaperTest, DeliversTheStatusOfAChildThatEndedBefore) {
  Reaper reaper(loop_);
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Shell("exit 3"));
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
  std::optional<ExitStatus> status;
  ASSERT_OK(reaper.Watch(std::move(child), [&](ExitStatus s) { status = s; }));
  ASSERT_TRUE(RunUntil([&] { return status.has_value(); }));
  EXPECT_EQ(status->code, 3);
}

TEST_F(ReaperTest, ReapsOrphans) {
  Reaper reaper(loop_);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) _exit(0);
  ASSERT_TRUE(RunUntil([&] { return !IsChild(pid); }));
}

TEST_F(ReaperTest, LeavesUnknownChildrenAloneWhileHeld) {
  Reaper reaper(loop_);
  std::optional<Reaper::Hold> hold(std::in_place, reaper);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) _exit(5);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  loop_.context().run_for(milliseconds(100));
  EXPECT_TRUE(IsChild(pid));
  // A watched child is delivered all the same, whatever stands before it in the kernel's list.
  std::optional<ExitStatus> status;
  ASSERT_OK_AND_ASSIGN(ChildProcess watched, Shell("exit 1"));
  ASSERT_OK(reaper.Watch(std::move(watched), [&](ExitStatus s) { status = s; }));
  EXPECT_TRUE(RunUntil([&] { return status.has_value(); }));
  hold.reset();
  EXPECT_TRUE(RunUntil([&] { return !IsChild(pid); }));
}

}  // namespace
}  // namespace kata::agent
