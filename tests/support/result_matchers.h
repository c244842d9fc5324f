// Matchers and assertions for Result<T>, which print the error on failure:
//   EXPECT_OK(WriteKnob(path, "1"));
//   ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
//   EXPECT_THAT(Open("/nonexistent", O_RDONLY), IsErrorCode(Code::kNotFound));
//   EXPECT_THAT(Spawn(command), IsError(Code::kNotFound, HasSubstr("'/nonexistent'")));
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>

#include "base/result.h"

namespace kata {

inline void PrintTo(const Error& error, std::ostream* out) {
  *out << CodeName(error.code()) << " error: " << error.message();
}

template <typename T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  if (result) {
    *out << "a value";
  } else {
    PrintTo(result.error(), out);
  }
}

namespace test {

MATCHER(IsOk, negation ? "is an error" : "is ok") {
  return arg.has_value();
}

MATCHER_P(IsErrorCode, code, "is an error with code '" + std::string(CodeName(code)) + "'") {
  return !arg && arg.error().code() == code;
}

// Both are matchers or the value itself, e.g. IsError(Code::kNotFound, HasSubstr("'/x'")), IsError(_,
// "text").
MATCHER_P2(IsError, code, message,
           "is an error with a message that " + testing::DescribeMatcher<std::string>(message)) {
  return !arg && testing::Matches(code)(arg.error().code()) &&
         testing::Matches(message)(arg.error().message());
}

}  // namespace test

#define EXPECT_OK(expr) EXPECT_THAT((expr), ::kata::test::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT((expr), ::kata::test::IsOk())

#define KATA_TEST_CONCAT_(a, b) a##b
#define KATA_TEST_CONCAT(a, b) KATA_TEST_CONCAT_(a, b)
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_(KATA_TEST_CONCAT(assigned_result_, __LINE__), lhs, (expr))
#define ASSERT_OK_AND_ASSIGN_(result, lhs, expr)                                      \
  auto result = expr;                                                                 \
  if (!result) GTEST_FATAL_FAILURE_("") << #expr << ": " << result.error().message(); \
  lhs = std::move(*result)

}  // namespace kata
