#include "base/acceptor.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include <vector>

#include "base/deadline.h"
#include "base/scope_exit.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

using ::testing::SizeIs;

class AcceptorTest : public test::LeakCheckedTest {
 protected:
  struct Accepted {
    UniqueFd stream;
    Acceptor::Place place;
  };

  AcceptorTest() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&kAnyName), sizeof(sa_family_t)), 0);
    EXPECT_EQ(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address_), &address_size_), 0);
    EXPECT_EQ(listen(socket.get(), 16), 0);
    listening_socket_ = std::move(socket);
  }

  void Create(size_t max_open) {
    Result<std::unique_ptr<Acceptor>> acceptor = Acceptor::Create(
        loop_, std::move(listening_socket_),
        [this](UniqueFd stream, const sockaddr_storage&, Acceptor::Place place) {
          accepted_.push_back({std::move(stream), std::move(place)});
        },
        max_open);
    ASSERT_OK(acceptor);
    acceptor_ = std::move(*acceptor);
  }

  UniqueFd Connect() {
    UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&address_), address_size_), 0);
    return client;
  }

  void RunUntilQuiet() { loop_.context().run_for(std::chrono::milliseconds(50)); }
  void RunUntilAccepted(size_t count) {
    const Deadline deadline = Deadline::After(std::chrono::seconds(30));
    while (accepted_.size() < count && !deadline.Passed())
      loop_.context().run_for(std::chrono::milliseconds(10));
  }

  EventLoop loop_;
  UniqueFd listening_socket_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<Accepted> accepted_;

 private:
  // An address of its family alone asks for any abstract name (unix(7)).
  static constexpr sockaddr_un kAnyName{.sun_family = AF_UNIX, .sun_path = {}};
  sockaddr_un address_{};
  socklen_t address_size_ = sizeof(address_);
};

TEST_F(AcceptorTest, HandsOverStreams) {
  Create(8);
  const UniqueFd first = Connect();
  const UniqueFd second = Connect();
  RunUntilAccepted(2);
  ASSERT_THAT(accepted_, SizeIs(2));
  EXPECT_EQ(fcntl(accepted_[0].stream.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_TRUE(fcntl(accepted_[0].stream.get(), F_GETFL) & O_NONBLOCK);
  ASSERT_EQ(write(first.get(), "1", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(accepted_[0].stream.get(), &byte, 1), 1);
  EXPECT_EQ(byte, '1') << "in the order in which they came";
}

TEST_F(AcceptorTest, LetsNoMoreInThanThereArePlaces) {
  Create(2);
  const UniqueFd clients[] = {Connect(), Connect(), Connect(), Connect()};
  RunUntilAccepted(2);
  RunUntilQuiet();
  ASSERT_THAT(accepted_, SizeIs(2));
  const Acceptor::Place copy = accepted_[0].place;
  accepted_[0].place.reset();
  RunUntilQuiet();
  EXPECT_THAT(accepted_, SizeIs(2)) << "a copy still holds the place";
  accepted_[1].place.reset();
  RunUntilAccepted(3);
  RunUntilQuiet();
  EXPECT_THAT(accepted_, SizeIs(3));
}

TEST_F(AcceptorTest, AcceptsNothingOnceItHasGone) {
  Create(1);
  const UniqueFd first = Connect();
  RunUntilAccepted(1);
  const UniqueFd second = Connect();
  acceptor_.reset();
  accepted_[0].place.reset();
  RunUntilQuiet();
  EXPECT_THAT(accepted_, SizeIs(1));
  char byte = 0;
  EXPECT_LE(read(second.get(), &byte, 1), 0) << "the socket is closed";
}

TEST_F(AcceptorTest, GoesOnWhenThereAreDescriptorsAgain) {
  Create(8);
  const UniqueFd client = Connect();
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  {
    const rlimit none{.rlim_cur = 0, .rlim_max = usual.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const ScopeExit restore([&] { setrlimit(RLIMIT_NOFILE, &usual); });
    RunUntilQuiet();
    EXPECT_THAT(accepted_, SizeIs(0));
  }
  RunUntilAccepted(1);
  EXPECT_THAT(accepted_, SizeIs(1));
}

}  // namespace
}  // namespace kata
