#include "base/supervised_process.h"

#include <poll.h>
#include <sys/socket.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

using test::IsErrorCode;

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(60));
}

Command Shell(const std::string& script) {
  Command command;
  command.program = "/bin/sh";
  command.args = {"-c", script};
  return command;
}

class SupervisedProcessTest : public test::LeakCheckedTest {
 protected:
  SupervisedProcess::Options Watched() {
    SupervisedProcess::Options options{.name = "script"};
    options.on_exit = [this] {
      std::lock_guard lock(mutex_);
      ++exits_;
    };
    return options;
  }
  int exits() {
    std::lock_guard lock(mutex_);
    return exits_;
  }

  std::mutex mutex_;
  int exits_ = 0;
  EventLoopThread loop_;
};

TEST_F(SupervisedProcessTest, TellsLinesOfStandardErrorAsTheyCome) {
  std::vector<std::string> lines;
  std::condition_variable changed;
  SupervisedProcess::Options options = Watched();
  options.on_error_line = [&](std::string_view line) {
    std::lock_guard lock(mutex_);
    lines.emplace_back(line);
    changed.notify_all();
  };
  SupervisedProcess process(loop_.loop(), std::move(options));
  PipeEnds input = *MakePipe();
  Command command = Shell("printf 'x: warning: one\\ntw' >&2; read wait; printf 'o\\nend' >&2");
  command.stdin_fd = input.read.get();
  ASSERT_OK(process.Start(std::move(command)));
  {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed.wait_until(lock, Soon().time(), [&] { return !lines.empty(); }));
  }
  input.write.Reset();
  EXPECT_TRUE(process.WaitDrained(Soon()));
  std::lock_guard lock(mutex_);
  EXPECT_THAT(lines, testing::ElementsAre("x: warning: one", "two", "end"));
}

TEST_F(SupervisedProcessTest, ReportsItsExitOnceWithAllThatItWrote) {
  SocketPairEnds ends = *MakeSocketPair(SOCK_STREAM);
  std::string text;
  SupervisedProcess::Options options = Watched();
  options.streams.push_back({std::move(ends.first), [&](std::string_view bytes) {
                               std::lock_guard lock(mutex_);
                               text += bytes;
                             }});
  SupervisedProcess process(loop_.loop(), std::move(options));
  EXPECT_FALSE(process.running());
  Command command = Shell("echo out; echo 'x: warning: no' >&2; echo broken >&2; exit 3");
  command.stdout_fd = ends.second.get();
  ASSERT_OK(process.Start(std::move(command)));
  ends.second.Reset();
  ASSERT_TRUE(process.WaitDrained(Soon()));
  EXPECT_FALSE(process.running());
  EXPECT_EQ(process.exit_status()->code, 3);
  EXPECT_EQ(process.ErrorSummary(), "broken");
  EXPECT_EQ(exits(), 1);
  EXPECT_OK(process.Signal(SIGTERM));
  EXPECT_OK(process.Kill());
  std::lock_guard lock(mutex_);
  EXPECT_EQ(text, "out\n");
}

TEST_F(SupervisedProcessTest, KillEndsWhatIgnoresSignals) {
  SupervisedProcess process(loop_.loop(), Watched());
  ASSERT_OK_AND_ASSIGN(PipeEnds ready, MakePipe());
  Command command = Shell("trap '' TERM; echo ready; exec sleep 1000");
  command.stdout_fd = ready.write.get();
  ASSERT_OK(process.Start(std::move(command)));
  ASSERT_OK(WaitFd(ready.read.get(), POLLIN, Soon(), "script"));
  EXPECT_TRUE(process.running());
  EXPECT_OK(process.Signal(SIGTERM));
  EXPECT_FALSE(process.WaitExit(Deadline::After(std::chrono::milliseconds(50))));
  EXPECT_OK(process.Kill());
  EXPECT_EQ(process.exit_status()->signal, SIGKILL);
  EXPECT_TRUE(process.WaitDrained(Soon()));
  EXPECT_EQ(exits(), 1);
}

TEST_F(SupervisedProcessTest, DestructionEndsIt) {
  pid_t pid;
  {
    SupervisedProcess process(loop_.loop(), Watched());
    ASSERT_OK(process.Start(Shell("exec sleep 1000")));
    pid = process.pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST_F(SupervisedProcessTest, AProgramThatIsMissingIsToldAtTheStart) {
  SupervisedProcess process(loop_.loop(), Watched());
  Command command;
  command.program = "/nonexistent/program";
  EXPECT_THAT(process.Start(std::move(command)), IsErrorCode(Code::kNotFound));
  EXPECT_EQ(process.pid(), -1);
  EXPECT_OK(process.Kill());
  EXPECT_EQ(exits(), 0);
}

}  // namespace
}  // namespace kata
