#include "hypervisor/console_socket.h"

#include <poll.h>

#include <string>

#include "base/file.h"
#include "linux/unix_socket.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::hypervisor {
namespace {

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(60));
}

class ConsoleSocketTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_.emplace(std::move(directory));
    ASSERT_OK_AND_ASSIGN(UniqueFd listener, linux::ListenUnix(path()));
    ASSERT_OK_AND_ASSIGN(SocketPairEnds console, MakeSocketPair(SOCK_STREAM));
    guest_ = std::move(console.first);
    ASSERT_OK(SetNonBlocking(console.second.get(), true));
    ASSERT_OK_AND_ASSIGN(
        socket_, ConsoleSocket::Create(thread_.loop(), std::move(listener), std::move(console.second)));
  }
  void TearDown() override {
    thread_.loop().RunAndWait([this] { socket_->Close(); });
  }

  std::string path() const { return directory_->path() + "/console.sock"; }
  void Show(const std::string& text) {
    thread_.loop().RunAndWait([&] { socket_->Show(text); });
  }
  // What one read gives; empty at the end.
  static std::string Read(const UniqueFd& fd) {
    char buffer[64];
    if (!WaitFd(fd.get(), POLLIN, Soon(), "text")) return "nothing";
    const ssize_t count = read(fd.get(), buffer, sizeof buffer);
    return {buffer, static_cast<size_t>(std::max<ssize_t>(count, 0))};
  }

  std::optional<TempDir> directory_;
  EventLoopThread thread_;
  UniqueFd guest_;
  std::shared_ptr<ConsoleSocket> socket_;
};

TEST_F(ConsoleSocketTest, CarriesBothDirections) {
  Show("nobody is there");
  ASSERT_OK_AND_ASSIGN(const UniqueFd user, linux::ConnectUnix(path(), SOCK_STREAM, Soon()));
  ASSERT_OK(WriteAll(user.get(), "ls\n"));
  EXPECT_EQ(Read(guest_), "ls\n");
  Show("file\n");
  EXPECT_EQ(Read(user), "file\n");
}

TEST_F(ConsoleSocketTest, ALaterConnectionTakesOver) {
  ASSERT_OK_AND_ASSIGN(UniqueFd first, linux::ConnectUnix(path(), SOCK_STREAM, Soon()));
  ASSERT_OK_AND_ASSIGN(const UniqueFd second, linux::ConnectUnix(path(), SOCK_STREAM, Soon()));
  EXPECT_EQ(Read(first), "");
  Show("text");
  EXPECT_EQ(Read(second), "text");
}

TEST_F(ConsoleSocketTest, AConnectionThatDoesNotReadHoldsNobodyUp) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd silent, linux::ConnectUnix(path(), SOCK_STREAM, Soon()));
  ASSERT_OK(WriteAll(silent.get(), "x"));
  ASSERT_EQ(Read(guest_), "x");
  for (int i = 0; i < 100; ++i) Show(std::string(64u << 10, 'x'));
  ASSERT_OK_AND_ASSIGN(const UniqueFd user, linux::ConnectUnix(path(), SOCK_STREAM, Soon()));
  ASSERT_OK(WriteAll(user.get(), "y"));
  EXPECT_EQ(Read(guest_), "y");
  Show("after");
  EXPECT_EQ(Read(user), "after");
}

}  // namespace
}  // namespace kata::hypervisor
