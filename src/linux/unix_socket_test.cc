// Tests of linux/unix_socket.h.
#include "linux/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(20));
}

class UnixSocketTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
  }
  std::unique_ptr<TempDir> directory_;
};

TEST_F(UnixSocketTest, PathsLongerThanAnAddressWork) {
  std::string directory = directory_->path();
  while (directory.size() < 300) directory += "/" + std::string(50, 'd');
  ASSERT_OK(MakeDirectories(directory));
  const std::string path = directory + "/socket";
  ASSERT_OK_AND_ASSIGN(const UniqueFd listener, ListenUnix(path, SOCK_STREAM, 0640));
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  ASSERT_OK_AND_ASSIGN(const UniqueFd client, ConnectUnix(path, SOCK_STREAM, Soon()));
  ASSERT_OK_AND_ASSIGN(const UniqueFd server, AcceptConnection(listener.get(), Soon()));
  ASSERT_OK_AND_ASSIGN(const ucred peer, PeerCredentials(server.get()));
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(peer.uid, geteuid());
}

TEST_F(UnixSocketTest, ErrorsNameThePath) {
  const std::string path = directory_->path() + "/socket";
  EXPECT_THAT(ConnectUnix(path, SOCK_STREAM, Soon()),
              test::IsError(Code::kNotFound, testing::HasSubstr(path)));
  ASSERT_OK_AND_ASSIGN(UniqueFd listener, ListenUnix(path));
  EXPECT_THAT(ListenUnix(path), test::IsError(testing::_, testing::HasSubstr("Address already in use")));
  listener.Reset();
  EXPECT_THAT(ConnectUnix(path, SOCK_STREAM, Soon()), IsErrorCode(Code::kUnavailable));
}

TEST_F(UnixSocketTest, ConnectGivesUpOnAFullBacklog) {
  const std::string path = directory_->path() + "/socket";
  ASSERT_OK_AND_ASSIGN(const UniqueFd listener, ListenUnix(path, SOCK_STREAM, 0600, 0));
  ASSERT_OK_AND_ASSIGN(const UniqueFd first, ConnectUnix(path, SOCK_STREAM, Soon()));
  EXPECT_THAT(ConnectUnix(path, SOCK_STREAM, Deadline::After(std::chrono::milliseconds(50))),
              IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(UnixSocketTest, AcceptHasADeadline) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd listener, ListenUnix(directory_->path() + "/socket"));
  EXPECT_THAT(AcceptConnection(listener.get(), Deadline::After(std::chrono::milliseconds(30))),
              IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(UnixSocketTest, DescriptorsTravelCloseOnExec) {
  ASSERT_OK_AND_ASSIGN(const SocketPairEnds pair, MakeSocketPair(SOCK_SEQPACKET));
  ASSERT_OK_AND_ASSIGN(const PipeEnds pipe, MakePipe());
  ASSERT_OK(SendUnixMessage(pair.first.get(), "name", {pipe.read.get(), pipe.write.get()}, Soon()));
  ASSERT_OK_AND_ASSIGN(const UnixMessage message, ReceiveUnixMessage(pair.second.get(), 100, 4, Soon()));
  EXPECT_EQ(message.data, "name");
  ASSERT_EQ(message.fds.size(), 2u);
  EXPECT_EQ(fcntl(message.fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  ASSERT_EQ(write(message.fds[1].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(message.fds[0].get(), &byte, 1), 1);
}

TEST_F(UnixSocketTest, MoreThanAskedForIsRefusedAndClosed) {
  ASSERT_OK_AND_ASSIGN(const SocketPairEnds pair, MakeSocketPair(SOCK_SEQPACKET));
  ASSERT_OK(SendUnixMessage(pair.first.get(), "long message", {}, Soon()));
  EXPECT_THAT(ReceiveUnixMessage(pair.second.get(), 4, 0, Soon()), IsErrorCode(Code::kResourceExhausted));
  const int fd = pair.first.get();
  // The fixture finds descriptors that stay open.
  ASSERT_OK(SendUnixMessage(pair.first.get(), "x", std::vector<int>(20, fd), Soon()));
  EXPECT_THAT(ReceiveUnixMessage(pair.second.get(), 4, 1, Soon()), IsErrorCode(Code::kResourceExhausted));
}

TEST_F(UnixSocketTest, DatagramsByPathAndByAbstractName) {
  const std::string path = directory_->path() + "/" + std::string(120, 'd') + "/socket";
  ASSERT_OK(MakeDirectories(path.substr(0, path.rfind('/'))));
  const mode_t old_mask = umask(077);
  const Result<UniqueFd> bound = BindUnix(path, SOCK_DGRAM, 0777);
  umask(old_mask);
  ASSERT_OK(bound);
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFSOCK | 0777u);
  ASSERT_OK_AND_ASSIGN(const UniqueFd client, ConnectUnix(path, SOCK_DGRAM, Soon()));
  ASSERT_OK(SendUnixMessage(client.get(), "x", {}, Soon()));
  ASSERT_OK_AND_ASSIGN(const UnixMessage message, ReceiveUnixMessage(bound->get(), 4, 0, Soon()));
  EXPECT_EQ(message.data, "x");

  EXPECT_THAT(ConnectUnixAbstract(directory_->path()), IsErrorCode(Code::kUnavailable));
  EXPECT_FALSE(ConnectUnixAbstract(std::string(108, 'x')));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, directory_->path().data(), directory_->path().size());
  const UniqueFd abstract(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(abstract.get(), reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + directory_->path().size())),
            0);
  EXPECT_OK(ConnectUnixAbstract(directory_->path()));
}

TEST_F(UnixSocketTest, EndOfStreamAndDeadline) {
  ASSERT_OK_AND_ASSIGN(SocketPairEnds pair, MakeSocketPair(SOCK_SEQPACKET));
  EXPECT_THAT(ReceiveUnixMessage(pair.second.get(), 4, 0, Deadline::After(std::chrono::milliseconds(30))),
              IsErrorCode(Code::kDeadlineExceeded));
  pair.first.Reset();
  ASSERT_OK_AND_ASSIGN(const UnixMessage message, ReceiveUnixMessage(pair.second.get(), 4, 0, Soon()));
  EXPECT_TRUE(message.data.empty());
  EXPECT_THAT(SendUnixMessage(pair.second.get(), "x", {}, Soon()), IsErrorCode(Code::kUnavailable));
}

}  // namespace
}  // namespace kata::linux
