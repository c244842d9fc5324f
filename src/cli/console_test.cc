// Terminals of processes: handed out through a console socket, served in the foreground.
#include "cli/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/file.h"
#include "linux/unix_socket.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using test::IsErrorCode;
using test::IsOk;

constexpr std::chrono::seconds kTimeout{60};

class ConsoleTest : public test::LeakCheckedTest {};

TEST_F(ConsoleTest, ATerminalNeedsAConsoleSocketExactlyWhenItIsDetached) {
  const auto check = [](bool terminal, bool detach, bool socket) {
    StdioOptions options;
    options.detach = detach;
    if (socket) options.console_socket = "/s";
    return CheckTerminal(terminal, options).has_value();
  };
  EXPECT_TRUE(check(false, false, false));
  EXPECT_TRUE(check(false, true, false));
  EXPECT_TRUE(check(true, false, false));
  EXPECT_TRUE(check(true, true, true));
  EXPECT_FALSE(check(true, true, false));
  EXPECT_FALSE(check(true, false, true));
  EXPECT_FALSE(check(false, true, true));
  EXPECT_FALSE(check(false, false, true));
}

TEST_F(ConsoleTest, TheConsoleSocketGetsTheMasterOfARawTerminal) {
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  StdioOptions options;
  options.detach = true;
  options.console_socket = directory.path() + "/console.sock";
  ASSERT_OK_AND_ASSIGN(const UniqueFd listener, linux::ListenUnix(options.console_socket));
  oci::Process process;
  process.terminal = true;
  process.console_size = {.height = 33, .width = 99};

  ASSERT_OK_AND_ASSIGN(const Stdio stdio, OpenStdio(process, options));
  EXPECT_TRUE(stdio.terminal);
  EXPECT_FALSE(stdio.master.valid());
  ASSERT_OK_AND_ASSIGN(const UniqueFd connection,
                       linux::AcceptConnection(listener.get(), Deadline::After(kTimeout)));
  ASSERT_OK_AND_ASSIGN(const linux::UnixMessage message,
                       linux::ReceiveUnixMessage(connection.get(), 4096, 1, Deadline::After(kTimeout)));
  EXPECT_FALSE(message.data.empty());
  ASSERT_EQ(message.fds.size(), 1u);
  ASSERT_OK_AND_ASSIGN(const linux::WindowSize size, linux::GetWindowSize(stdio.in.get()));
  EXPECT_EQ(size.rows, 33);
  EXPECT_EQ(size.columns, 99);

  // Ctrl-C, a line end and an unfinished line arrive as they are, and nothing is echoed.
  ASSERT_OK(WriteAll(message.fds[0].get(), "\x03\r\nab"));
  char buffer[16];
  EXPECT_EQ(read(stdio.in.get(), buffer, sizeof buffer), 5);
  EXPECT_EQ(std::string(buffer, 5), "\x03\r\nab");
  pollfd echo{message.fds[0].get(), POLLIN, 0};
  EXPECT_EQ(poll(&echo, 1, 0), 0);
  ASSERT_OK(WriteAll(stdio.out.get(), "out\n"));
  EXPECT_EQ(read(message.fds[0].get(), buffer, sizeof buffer), 4);
  EXPECT_EQ(std::string(buffer, 4), "out\n");
}

TEST_F(ConsoleTest, AMissingConsoleSocketIsNamed) {
  oci::Process process;
  process.terminal = true;
  StdioOptions options;
  options.detach = true;
  options.console_socket = "/nosuch/socket";
  EXPECT_THAT(OpenStdio(process, options),
              test::IsError(Code::kNotFound, testing::HasSubstr("console socket '/nosuch/socket'")));
}

TEST_F(ConsoleTest, WithoutATerminalItIsOurOwn) {
  ASSERT_OK_AND_ASSIGN(const Stdio stdio, OpenStdio(oci::Process(), StdioOptions()));
  EXPECT_FALSE(stdio.terminal);
  struct stat ours{}, theirs{};
  ASSERT_EQ(fstat(STDERR_FILENO, &ours), 0);
  ASSERT_EQ(fstat(stdio.err.get(), &theirs), 0);
  EXPECT_EQ(ours.st_ino, theirs.st_ino);
}

// Runs `script` in the foreground of a child of ours, which has the ends of two pipes as stdin and stdout.
class ForegroundTest : public test::LeakCheckedTest {
 protected:
  void Start(const std::string& script, bool terminal) {
    ASSERT_OK_AND_ASSIGN(PipeEnds in, MakePipe());
    ASSERT_OK_AND_ASSIGN(PipeEnds out, MakePipe());
    fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(in.read.get(), STDIN_FILENO);
      dup2(out.write.get(), STDOUT_FILENO);
      in.write.Reset();
      out.read.Reset();
      const Result<int> code = Serve(script, terminal);
      _exit(code ? *code : 99);
    }
    ASSERT_OK_AND_ASSIGN(UniqueFd pidfd, OpenPidfd(pid));
    server_ = ChildProcess(pid, std::move(pidfd));
    in_ = std::move(in.write);
    out_ = std::move(out.read);
  }

  static Result<int> Serve(const std::string& script, bool terminal) {
    SignalQueue signals = TRY(SignalQueue::ForForwarding());
    oci::Process process;
    process.terminal = terminal;
    Stdio stdio = TRY(OpenStdio(process, StdioOptions()));
    Command command;
    command.program = "/bin/sh";
    command.args = {"-c", script};
    command.stdin_fd = stdio.in.get();
    command.stdout_fd = stdio.out.get();
    command.stderr_fd = stdio.err.get();
    command.new_session = true;
    if (terminal) command.controlling_tty_fd = stdio.in.get();
    ChildProcess child = TRY(Spawn(command));
    return ServeForeground(child, signals, std::move(stdio));
  }

  // What stdout shows until `end` or until it is closed.
  std::string ReadUntil(std::string_view end) {
    std::string text;
    char c;
    while (!text.ends_with(end) && WaitFd(out_.get(), POLLIN, Deadline::After(kTimeout), "output") &&
           read(out_.get(), &c, 1) == 1) {
      text += c;
    }
    return text;
  }

  int ExitCode() {
    const Result<ExitStatus> status = server_.Wait(Deadline::After(kTimeout));
    EXPECT_OK(status);
    return status ? status->ShellCode() : -1;
  }

  ChildProcess server_;
  UniqueFd in_, out_;
};

TEST_F(ForegroundTest, CopiesBothWaysThroughATerminalAndReturnsTheExitCode) {
  Start("test -t 0 && test -t 1 && echo ready; read line; echo got $line; exit 7", true);
  EXPECT_EQ(ReadUntil("ready\n"), "ready\n");
  ASSERT_OK(WriteAll(in_.get(), "hello\n"));
  EXPECT_EQ(ReadUntil("hello\n"), "got hello\n");
  EXPECT_EQ(ExitCode(), 7);
}

TEST_F(ForegroundTest, TheLastOutputIsNotLost) {
  Start(
      "i=0; while [ $i -lt 2000 ]; do echo line $i of a longer text to fill buffers; i=$((i+1)); done; echo "
      "end",
      true);
  const std::string text = ReadUntil("end\n");
  EXPECT_TRUE(text.ends_with("line 1999 of a longer text to fill buffers\nend\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2001);
  EXPECT_EQ(ExitCode(), 0);
}

TEST_F(ForegroundTest, PassesSignalsOn) {
  Start("trap 'exit 6' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done", false);
  EXPECT_EQ(ReadUntil("ready\n"), "ready\n");
  ASSERT_OK(server_.Signal(SIGUSR1));
  EXPECT_EQ(ReadUntil("usr1\n"), "usr1\n");
  ASSERT_OK(server_.Signal(SIGTERM));
  EXPECT_EQ(ExitCode(), 6);
}

TEST_F(ForegroundTest, DeathByASignalIs128PlusItsNumber) {
  Start("kill -9 $$", false);
  EXPECT_EQ(ExitCode(), 128 + SIGKILL);
}

}  // namespace
}  // namespace kata::cli
