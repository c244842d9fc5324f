#include "base/parse_number.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace kata {
namespace {

TEST(ParseNumberTest, TakesAWholeTextOnly) {
  EXPECT_EQ(ParseNumber<int>("0"), 0);
  EXPECT_EQ(ParseNumber<int>("-17"), -17);
  EXPECT_EQ(ParseNumber<uint8_t>("255"), 255);
  EXPECT_EQ(ParseNumber<unsigned>("1f", 16), 31u);
  for (const char* text : {"", " 1", "1 ", "+1", "0x1", "1.0", "-"}) {
    EXPECT_EQ(ParseNumber<int>(text), std::nullopt) << text;
  }
  EXPECT_EQ(ParseNumber<uint8_t>("256"), std::nullopt);
  EXPECT_EQ(ParseNumber<uint32_t>("-1"), std::nullopt);
  EXPECT_EQ(ParseNumber<int>({}), std::nullopt);
}

}  // namespace
}  // namespace kata
