#include "cli/ps_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using kata::test::IsError;
using testing::HasSubstr;

TEST(SelectProcesses, KeepsTitleAndTheLinesOfThePids) {
  constexpr char kOutput[] =
      "UID        PID  PPID CMD\n"
      "root         1     0 init 12\n"
      "root        12     1 sleep 1\n"
      "root       120    12 a 12\n";
  EXPECT_EQ(*SelectProcesses(kOutput, {12, 99}), "UID        PID  PPID CMD\nroot        12     1 sleep 1\n");
  EXPECT_EQ(*SelectProcesses(kOutput, {}), "UID        PID  PPID CMD\n");
  EXPECT_EQ(*SelectProcesses("  PID\n   12\nshort", {12}), "  PID\n   12\n");
}

TEST(SelectProcesses, NeedsTheColumn) {
  EXPECT_THAT(SelectProcesses("COMMAND\ninit\n", {1}), IsError(Code::kInvalidArgument, HasSubstr("PID")));
  EXPECT_THAT(SelectProcesses("", {1}), IsError(Code::kInvalidArgument, HasSubstr("PID")));
}

}  // namespace
}  // namespace kata::cli
