// kata-shim as a process, with the test in the place of the sandbox server.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "base/shim_message.h"
#include "linux/terminal.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

constexpr std::chrono::seconds kTimeout{60};

Deadline Soon() {
  return Deadline::After(kTimeout);
}

// Built beside the tests, in bin/.
std::string ShimPath() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "bin/kata-shim";
}

class KataShimTest : public test::LeakCheckedTest {
 protected:
  void StartShim(int stdin_fd = -1) {
    SocketPairEnds ends = *MakeSocketPair(SOCK_SEQPACKET);
    Command command;
    command.program = ShimPath();
    command.args = {"c1"};
    command.stdin_fd = stdin_fd;
    command.inherited_fds = {{kShimChannelFd, ends.second.get()}};
    command.new_session = true;
    command.new_pid_namespace = geteuid() == 0;
    Result<ChildProcess> child = Spawn(command);
    ASSERT_OK(child);
    shim_ = std::move(*child);
    channel_ = std::move(ends.first);
  }
  // Blocked signals stay pending until it reads them; before that they would end it.
  void AwaitReady() {
    constexpr std::string_view kLabel = "SigBlk:\t";
    for (const Deadline deadline = Soon(); !deadline.Passed();) {
      const Result<std::string> status = ReadFile(fmt::format("/proc/{}/status", shim_.pid()));
      ASSERT_OK(status);
      const uint64_t blocked =
          std::stoull(status->substr(status->find(kLabel) + kLabel.size(), 16), nullptr, 16);
      if ((blocked >> (SIGUSR1 - 1) & 1) != 0) return;
      usleep(2000);
    }
    FAIL() << "kata-shim does not block signals";
  }
  std::optional<ShimMessage> Receive() {
    EXPECT_OK(WaitFd(channel_.get(), POLLIN, Soon(), "a message of kata-shim"));
    ShimMessage message{};
    if (recv(channel_.get(), &message, sizeof(message), MSG_DONTWAIT) != sizeof(message)) return std::nullopt;
    return message;
  }
  void SendExit(uint32_t code) {
    const ShimMessage message{ShimMessageType::kExit, code, 0};
    EXPECT_EQ(send(channel_.get(), &message, sizeof(message), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(message)));
  }
  int AwaitExit() {
    const Result<ExitStatus> status = shim_.Wait(Soon());
    EXPECT_OK(status);
    return status ? status->ShellCode() : -1;
  }

  ChildProcess shim_;
  UniqueFd channel_;
};

TEST_F(KataShimTest, EndsWithTheCodeItIsTold) {
  for (const uint32_t code : {0u, 42u, 137u, 255u}) {
    StartShim();
    SendExit(code);
    channel_.Reset();  // the message must count although its sender is gone
    EXPECT_EQ(AwaitExit(), static_cast<int>(code));
  }
}

TEST_F(KataShimTest, EndsWith255WhenTheServerVanishes) {
  StartShim();
  channel_.Reset();
  EXPECT_EQ(AwaitExit(), kShimServerGoneExitCode);
}

TEST_F(KataShimTest, ForwardsEverySignalThatCanBeCaught) {
  StartShim();
  AwaitReady();
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    // SIGWINCH has a message of its own; 32 and 33 belong to glibc.
    if (signal == SIGKILL || signal == SIGSTOP || signal == SIGCHLD || signal == SIGPIPE ||
        signal == SIGWINCH || signal == 32 || signal == 33) {
      continue;
    }
    ASSERT_OK(shim_.Signal(signal));
    const std::optional<ShimMessage> message = Receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->type, ShimMessageType::kSignal);
    EXPECT_EQ(message->a, static_cast<uint32_t>(signal));
  }
  SendExit(3);
  EXPECT_EQ(AwaitExit(), 3);
}

TEST_F(KataShimTest, IgnoresWhatIsItsOwn) {
  StartShim();
  AwaitReady();
  ASSERT_OK(shim_.Signal(SIGPIPE));
  ASSERT_OK(shim_.Signal(SIGCHLD));
  ASSERT_OK(shim_.Signal(SIGWINCH));  // it has no terminal
  ASSERT_OK(shim_.Signal(SIGUSR1));
  const std::optional<ShimMessage> message = Receive();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->a, static_cast<uint32_t>(SIGUSR1));
}

TEST_F(KataShimTest, TellsTheSizeOfItsTerminalAtTheStartAndOnChange) {
  ASSERT_OK_AND_ASSIGN(const linux::PtyPair pty, linux::OpenPty());
  ASSERT_OK(linux::SetWindowSize(pty.master.get(), {.rows = 24, .columns = 80}));
  StartShim(pty.slave.get());
  std::optional<ShimMessage> message = Receive();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->type, ShimMessageType::kWindowSize);
  EXPECT_EQ(message->a, 24u);
  EXPECT_EQ(message->b, 80u);
  ASSERT_OK(linux::SetWindowSize(pty.master.get(), {.rows = 50, .columns = 132}));
  ASSERT_OK(shim_.Signal(SIGWINCH));
  message = Receive();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->a, 50u);
  EXPECT_EQ(message->b, 132u);
}

TEST_F(KataShimTest, SignalsWaitForAServerThatIsBusy) {
  StartShim();
  AwaitReady();
  // Far more than the channel holds; of each signal one may be pending, as in the kernel.
  for (int i = 0; i < 2000; ++i) ASSERT_OK(shim_.Signal(SIGUSR1));
  ASSERT_OK(shim_.Signal(SIGUSR2));
  for (;;) {
    const std::optional<ShimMessage> message = Receive();
    ASSERT_TRUE(message.has_value());
    if (message->a == SIGUSR2) break;
    EXPECT_EQ(message->a, static_cast<uint32_t>(SIGUSR1));
  }
}

TEST_F(KataShimTest, UnknownMessagesAreIgnored) {
  StartShim();
  ASSERT_EQ(send(channel_.get(), "x", 1, MSG_NOSIGNAL), 1);
  const ShimMessage message{static_cast<ShimMessageType>(99), 0, 0};
  ASSERT_EQ(send(channel_.get(), &message, sizeof(message), MSG_NOSIGNAL),
            static_cast<ssize_t>(sizeof(message)));
  SendExit(7);
  EXPECT_EQ(AwaitExit(), 7);
}

TEST(KataShim, SaysWhoStartsItWhenStartedByHand) {
  PipeEnds errors = *MakePipe();
  Result<ChildProcess> child = Spawn(Command{.program = ShimPath(), .stderr_fd = errors.write.get()});
  ASSERT_OK(child);
  const Result<ExitStatus> status = child->Wait(Soon());
  ASSERT_OK(status);
  EXPECT_EQ(status->code, kShimServerGoneExitCode);
  errors.write.Reset();
  EXPECT_THAT(*ReadFd(errors.read.get()), testing::HasSubstr("started by kata-runtime"));
}

}  // namespace
}  // namespace kata
