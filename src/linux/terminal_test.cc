// Tests of linux/terminal.h.
#include "linux/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

class TerminalTest : public test::LeakCheckedTest {};

TEST_F(TerminalTest, PairIsConnectedAndNotControlling) {
  ASSERT_OK_AND_ASSIGN(const PtyPair pty, OpenPty());
  EXPECT_TRUE(IsTerminal(pty.slave.get()));
  EXPECT_EQ(fcntl(pty.slave.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  ASSERT_EQ(write(pty.slave.get(), "hi\n", 3), 3);
  char buffer[16] = {};
  ASSERT_EQ(read(pty.master.get(), buffer, sizeof(buffer)), 4);
  EXPECT_STREQ(buffer, "hi\r\n");
  unsigned number = 0;
  ASSERT_EQ(ioctl(pty.master.get(), TIOCGPTN, &number), 0);
  struct stat info{};
  ASSERT_EQ(fstat(pty.slave.get(), &info), 0);
  EXPECT_EQ(minor(info.st_rdev), number);
}

TEST_F(TerminalTest, WindowSizeIsSharedByBothEnds) {
  ASSERT_OK_AND_ASSIGN(const PtyPair pty, OpenPty());
  ASSERT_OK(SetWindowSize(pty.master.get(), {40, 132}));
  ASSERT_OK_AND_ASSIGN(const WindowSize size, GetWindowSize(pty.slave.get()));
  EXPECT_EQ(size.rows, 40);
  EXPECT_EQ(size.columns, 132);
}

TEST_F(TerminalTest, NewlinesAreKeptThroughEitherEnd) {
  ASSERT_OK_AND_ASSIGN(const PtyPair pty, OpenPty());
  ASSERT_OK_AND_ASSIGN(const bool before, MapsNewlines(pty.master.get()));
  EXPECT_TRUE(before);
  ASSERT_OK(KeepNewlines(pty.master.get()));
  ASSERT_OK_AND_ASSIGN(const bool after, MapsNewlines(pty.slave.get()));
  EXPECT_FALSE(after);
  ASSERT_EQ(write(pty.slave.get(), "hi\n", 3), 3);
  char buffer[16] = {};
  ASSERT_EQ(read(pty.master.get(), buffer, sizeof(buffer)), 3);
  EXPECT_STREQ(buffer, "hi\n");
}

TEST_F(TerminalTest, RawModeIsRestored) {
  ASSERT_OK_AND_ASSIGN(const PtyPair pty, OpenPty());
  termios before{};
  ASSERT_EQ(tcgetattr(pty.slave.get(), &before), 0);
  {
    ASSERT_OK_AND_ASSIGN(const RawTerminal raw, RawTerminal::Enter(pty.slave.get()));
    termios now{};
    ASSERT_EQ(tcgetattr(pty.slave.get(), &now), 0);
    EXPECT_EQ(now.c_lflag & (ECHO | ICANON | ISIG), 0u);
  }
  termios after{};
  ASSERT_EQ(tcgetattr(pty.slave.get(), &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST_F(TerminalTest, OtherFilesAreNoTerminals) {
  EXPECT_THAT(OpenPty("/dev/null"), test::IsError(testing::_, testing::HasSubstr("pseudo-terminal")));
  EXPECT_FALSE(RawTerminal::Enter(-1));
}

}  // namespace
}  // namespace kata::linux
