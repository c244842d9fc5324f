#include "protocol/ready_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace kata::protocol {
namespace {

using testing::Eq;
using testing::Optional;

TEST(ReadyLineTest, IsFoundAmongOthers) {
  EXPECT_THAT(FindReadyLine("READY=1"), Optional(Eq("READY=1")));
  EXPECT_THAT(FindReadyLine("READY=1\n"), Optional(Eq("READY=1")));
  EXPECT_THAT(FindReadyLine("STATUS=up\nREADY=1\nMAINPID=7"), Optional(Eq("READY=1")));
  for (const char* message : {"", "\n\n", "STATUS=READY=1", " READY=1", "READY", "ready=1"}) {
    EXPECT_EQ(FindReadyLine(message), std::nullopt) << message;
  }
}

TEST(ReadyLineTest, IsPlainAndShort) {
  const std::string longest = "READY=" + std::string(kMaxReadyLineBytes - 6, '1');
  EXPECT_TRUE(IsReadyLine(longest));
  EXPECT_FALSE(IsReadyLine(longest + "1"));
  for (const std::string& end : {std::string("\0", 1), std::string("\r"), std::string("\x1b[2J"),
                                 std::string("\x7f"), std::string("\xc3\xa4"), std::string("\nMAINPID=1")}) {
    EXPECT_FALSE(IsReadyLine("READY=1" + end));
  }
  EXPECT_THAT(FindReadyLine("READY=\x01\nREADY=2"), Optional(Eq("READY=2")));
}

}  // namespace
}  // namespace kata::protocol
