#include "protocol/ids.h"

#include <string>

#include "support/result_matchers.h"

namespace kata::protocol {
namespace {

using test::IsError;

TEST(CheckContainerId, AcceptsWhatRuncAccepts) {
  for (const char* id : {"a", "0", "_", "...", ".a", "-x", "c1", "A-Za_z0+9.x",
                         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}) {
    EXPECT_OK(CheckContainerId(id)) << id;
  }
  EXPECT_OK(CheckContainerId(std::string(kMaxIdBytes, 'a')));
}

TEST(CheckContainerId, RefusesPathsAndControlCharacters) {
  const std::string charset = ": has characters other than A-Z a-z 0-9 _ + - .";
  EXPECT_THAT(CheckContainerId(""), IsError(Code::kInvalidArgument, "invalid container id '': is empty"));
  EXPECT_THAT(CheckContainerId("."),
              IsError(Code::kInvalidArgument, "invalid container id '.': is a directory's own name"));
  EXPECT_THAT(CheckContainerId(".."),
              IsError(Code::kInvalidArgument, "invalid container id '..': is a directory's own name"));
  EXPECT_THAT(CheckContainerId("../etc"),
              IsError(Code::kInvalidArgument, "invalid container id '../etc'" + charset));
  EXPECT_THAT(CheckContainerId("a\nb"),
              IsError(Code::kInvalidArgument, "invalid container id 'a\\x0ab'" + charset));
  EXPECT_THAT(CheckContainerId(std::string("a\0b", 3)),
              IsError(Code::kInvalidArgument, "invalid container id 'a\\x00b'" + charset));
  EXPECT_THAT(CheckContainerId("\xc3\xbc"),
              IsError(Code::kInvalidArgument, "invalid container id '\\xc3\\xbc'" + charset));
  EXPECT_THAT(CheckContainerId(std::string(kMaxIdBytes + 1, 'a')),
              IsError(Code::kInvalidArgument,
                      "invalid container id '" + std::string(64, 'a') + "...': is longer than 1024 bytes"));
}

TEST(CheckExecId, SaysWhichKindOfId) {
  EXPECT_OK(CheckExecId("e1"));
  EXPECT_THAT(CheckExecId("a b"),
              IsError(Code::kInvalidArgument,
                      "invalid exec id 'a b': has characters other than A-Z a-z 0-9 _ + - ."));
}

}  // namespace
}  // namespace kata::protocol
