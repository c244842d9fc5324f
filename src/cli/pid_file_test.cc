#include "cli/pid_file.h"

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using test::IsErrorCode;
using test::IsOk;

class PidFileTest : public test::LeakCheckedTest {};

TEST_F(PidFileTest, HoldsTheNumberAndNothingElse) {
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  const std::string path = directory.path() + "/pid";
  EXPECT_OK(CheckPidFile(path));
  EXPECT_OK(WritePidFile(path, 4711));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_EQ(text, "4711");
  // An older one is replaced.
  EXPECT_OK(CheckPidFile(path));
  EXPECT_OK(WritePidFile(path, 12));
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> names, ListDirectory(directory.path()));
  EXPECT_THAT(names, testing::ElementsAre("pid"));
}

TEST_F(PidFileTest, WhatCannotBeWrittenIsKnownBefore) {
  EXPECT_OK(CheckPidFile(""));
  EXPECT_THAT(CheckPidFile("/nosuch/pid"), IsErrorCode(Code::kNotFound));
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  EXPECT_FALSE(CheckPidFile(directory.path()));
  EXPECT_FALSE(CheckPidFile(directory.path() + "/a/b"));
}

}  // namespace
}  // namespace kata::cli
