#include "cli/update_flags.h"

#include <gtest/gtest.h>

#include "cli/duration.h"
#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using kata::test::IsErrorCode;
using std::chrono::milliseconds;

TEST(ParseBytes, UnitsArePowersOf1024) {
  const std::pair<const char*, int64_t> cases[] = {
      {"-1", -1},          {"0", 0},          {"67108864", 64 << 20},
      {"64m", 64 << 20},   {"64M", 64 << 20}, {"64MiB", 64 << 20},
      {"64 mb", 64 << 20}, {"1.5k", 1536},    {"7b", 7},
      {"2g", 2LL << 30},   {"1t", 1LL << 40},
  };
  for (const auto& [text, bytes] : cases) {
    Result<int64_t> parsed = ParseBytes(text);
    ASSERT_OK(parsed);
    EXPECT_EQ(*parsed, bytes) << text;
  }
  for (const char* text : {"", "m", "64x", "64mm", "-2", "1e3", "0x10", "9000000p", "1 m b", "nan", "inf"}) {
    EXPECT_THAT(ParseBytes(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

TEST(ParseDuration, AsGoWritesThem) {
  const std::pair<const char*, milliseconds> cases[] = {
      {"500ms", milliseconds(500)},      {"5s", milliseconds(5000)},  {"1m30s", milliseconds(90000)},
      {"2h", milliseconds(7200000)},     {"0.5s", milliseconds(500)}, {".5s", milliseconds(500)},
      {"1h1.5m", milliseconds(3690000)}, {"2500us", milliseconds(3)}, {"100us", milliseconds(1)},
      {"1ns", milliseconds(1)}};
  for (const auto& [text, duration] : cases) {
    Result<milliseconds> parsed = ParseDuration(text);
    ASSERT_OK(parsed);
    EXPECT_EQ(*parsed, duration) << text;
  }
  for (const char* text :
       {"", "0s", "5", "s", "-5s", "1s-5s", "5x", "1e3s", "infs", "nans", ".s", "5s ", "99999999h"}) {
    EXPECT_THAT(ParseDuration(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

}  // namespace
}  // namespace kata::cli
