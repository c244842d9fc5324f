#include "base/unique_fd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

class UniqueFdTest : public test::LeakCheckedTest {};

bool IsOpen(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

TEST_F(UniqueFdTest, ClosesOnceAndMoves) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  const int number = pipe.read.get();
  UniqueFd moved = std::move(pipe.read);
  EXPECT_FALSE(pipe.read.valid());
  EXPECT_TRUE(IsOpen(number));
  moved = std::move(pipe.write);
  EXPECT_FALSE(IsOpen(number));
  UniqueFd& same = moved;
  moved = std::move(same);
  EXPECT_TRUE(moved.valid());
  EXPECT_TRUE(IsOpen(moved.get()));
}

TEST_F(UniqueFdTest, EverythingIsCloseOnExec) {
  ASSERT_OK_AND_ASSIGN(const PipeEnds pipe, MakePipe(O_NONBLOCK));
  ASSERT_OK_AND_ASSIGN(const SocketPairEnds sockets, MakeSocketPair(SOCK_STREAM));
  ASSERT_OK_AND_ASSIGN(const UniqueFd copy, pipe.read.Duplicate());
  for (const int fd :
       {pipe.read.get(), pipe.write.get(), sockets.first.get(), sockets.second.get(), copy.get()}) {
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_GE(copy.get(), 3);
  ASSERT_OK(SetCloseOnExec(copy.get(), false));
  EXPECT_EQ(fcntl(copy.get(), F_GETFD), 0);
  EXPECT_NE(fcntl(pipe.read.get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_OK(SetNonBlocking(pipe.read.get(), false));
  EXPECT_EQ(fcntl(pipe.read.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_THAT(UniqueFd().Duplicate(), testing::Not(test::IsOk()));
}

}  // namespace
}  // namespace kata
