#include "base/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "support/result_matchers.h"

namespace kata {
namespace {

using test::IsError;
using test::IsOk;

Result<std::unique_ptr<int>> Half(int n) {
  if (n % 2 != 0) return MakeError(Code::kInvalidArgument, "{} is odd", n);
  return std::make_unique<int>(n / 2);
}

Result<int> Quarter(int n) {
  const std::unique_ptr<int> half = TRY_CTX(Half(n), "halve '{}'", n);
  return *TRY(Half(*half));
}

Status CheckQuarter(int n) {
  TRY(Quarter(n));
  return {};
}

TEST(ResultTest, TryPassesValuesAndErrorsOn) {
  EXPECT_EQ(Quarter(12).value_or(0), 3);
  EXPECT_THAT(Quarter(3), IsError(Code::kInvalidArgument, "halve '3': 3 is odd"));
  EXPECT_THAT(Quarter(6), IsError(Code::kInvalidArgument, "3 is odd"));
  EXPECT_THAT(CheckQuarter(8), IsOk());
  EXPECT_THAT(CheckQuarter(6), IsError(Code::kInvalidArgument, "3 is odd"));
}

TEST(ErrorTest, WrapKeepsTheCause) {
  const Error error = ErrnoError(EACCES, "mount '/a' on '/b'").Wrap("create container 'c1'");
  EXPECT_EQ(error.message(), "create container 'c1': mount '/a' on '/b': Permission denied");
  EXPECT_EQ(error.code(), Code::kPermissionDenied);
  EXPECT_EQ(error.sys_errno(), EACCES);
}

TEST(ErrorTest, SysErrorTakesErrno) {
  errno = ENOENT;
  const Error error = SysError("open '{}'", "/x");
  EXPECT_EQ(error.message(), "open '/x': No such file or directory");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(ErrnoError(99999, "x").message(), "x: errno 99999");
}

TEST(ErrorTest, WithCodeKeepsMessageAndErrno) {
  const Error error = ErrnoError(ENOENT, "x").WithCode(Code::kFailedPrecondition);
  EXPECT_EQ(error.code(), Code::kFailedPrecondition);
  EXPECT_EQ(error.sys_errno(), ENOENT);
  EXPECT_EQ(CodeName(error.code()), "failed precondition");
}

}  // namespace
}  // namespace kata
