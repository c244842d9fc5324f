#include "agent/debug_console.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

sigset_t CurrentMask() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return mask;
}

class DebugConsoleTest : public test::LeakCheckedTest {
 protected:
  ~DebugConsoleTest() override { pthread_sigmask(SIG_SETMASK, &mask_, nullptr); }
  Result<UniqueFd> Connect() {
    SocketPairEnds ends = TRY(MakeSocketPair(SOCK_STREAM));
    TRY(SetNonBlocking(ends.first.get(), true));
    TRY(DebugConsole(loop_, reaper_).Serve(std::move(ends.second)));
    return std::move(ends.first);
  }
  // Runs the loop until `done` or a minute has passed.
  bool RunUntil(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::After(seconds(60));
    while (!done() && !deadline.Passed()) loop_.context().run_for(milliseconds(10));
    return done();
  }
  // Reads until `text` has come or the stream has ended; tells which.
  bool ReadUntil(int fd, const std::string& text) {
    bool ended = false;
    RunUntil([&] {
      char buffer[256];
      const ssize_t count = read(fd, buffer, sizeof buffer);
      if (count > 0) output_.append(buffer, static_cast<size_t>(count));
      ended = count == 0;
      return ended || output_.contains(text);
    });
    return ended;
  }

  sigset_t mask_ = CurrentMask();  // the reaper blocks SIGCHLD
  EventLoop loop_;
  Reaper reaper_{loop_};
  std::string output_;
};

TEST_F(DebugConsoleTest, RunsAShellOnATerminal) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd connection, Connect());
  ASSERT_OK(WriteAll(connection.get(), "tty; echo sum $((40 + 2))\n"));
  EXPECT_FALSE(ReadUntil(connection.get(), "sum 42"));
  EXPECT_THAT(output_, testing::HasSubstr("/dev/pts/"));
  ASSERT_OK(WriteAll(connection.get(), "exit\n"));
  EXPECT_TRUE(ReadUntil(connection.get(), "no such text")) << "the connection ends with the shell";
}

TEST_F(DebugConsoleTest, TheShellEndsWithTheConnection) {
  ASSERT_OK_AND_ASSIGN(UniqueFd connection, Connect());
  ASSERT_OK(WriteAll(connection.get(), "trap '' HUP; echo pid=$$ end$((1 + 1))\n"));
  // The terminal echoes the command first.
  ASSERT_FALSE(ReadUntil(connection.get(), " end2"));
  const size_t at = output_.rfind("pid=");
  ASSERT_NE(at, std::string::npos) << output_;
  const pid_t pid = std::stoi(output_.substr(at + 4));
  connection.Reset();
  EXPECT_TRUE(RunUntil([&] { return kill(pid, 0) != 0; })) << "it is killed and reaped";
}

}  // namespace
}  // namespace kata::agent
