#include "base/utf8.h"

#include <gtest/gtest.h>

namespace kata {
namespace {

const std::string kBad = "\xef\xbf\xbd";

TEST(Utf8Test, DecodesValidSequences) {
  EXPECT_EQ(DecodeUtf8("az").value, U'a');
  EXPECT_EQ(DecodeUtf8("\xc3\xa4x").value, U'\u00e4');
  EXPECT_EQ(DecodeUtf8("\xe2\x82\xac").value, U'\u20ac');
  EXPECT_EQ(DecodeUtf8("\xf0\x9f\x98\x80").value, U'\U0001f600');
  EXPECT_EQ(DecodeUtf8("\xf0\x9f\x98\x80").length, 4u);
}

TEST(Utf8Test, ReplacesInvalidBytes) {
  EXPECT_EQ(ReplaceInvalidUtf8("\xc3\xa4\xf0\x9f\x98\x80"), "\xc3\xa4\xf0\x9f\x98\x80");
  EXPECT_EQ(ReplaceInvalidUtf8("a\xff"), "a" + kBad);
  EXPECT_EQ(ReplaceInvalidUtf8("\xc3"), kBad);                                          // truncated
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\x80"), kBad + kBad);                               // overlong
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), kBad + kBad + kBad);                    // surrogate
  EXPECT_EQ(ReplaceInvalidUtf8("\xf4\x90\x80\x80x"), kBad + kBad + kBad + kBad + "x");  // beyond U+10FFFF
  EXPECT_EQ(ReplaceInvalidUtf8("\xe2\x82x"), kBad + kBad + "x");
}

TEST(Utf8Test, TruncatesBetweenSequences) {
  EXPECT_EQ(TruncateUtf8("abc", 3), "abc");
  EXPECT_EQ(TruncateUtf8("abc", 2), "ab");
  EXPECT_EQ(TruncateUtf8("a\xe2\x82\xac", 3), "a");
  EXPECT_EQ(TruncateUtf8("a\xe2\x82\xacz", 4), "a\xe2\x82\xac");
  EXPECT_EQ(TruncateUtf8("\x80\x80", 1), "");
}

TEST(Utf8Test, PlainLineHasNoControlCharactersAndALimit) {
  EXPECT_EQ(ToPlainLine("a\nb\x1b[31m\xc2\x9b\xff", 100), "a b [31m " + kBad);
  EXPECT_EQ(ToPlainLine("abc", 2), "ab");
  EXPECT_EQ(ToPlainLine("a\xc3\xa4", 2), "a");  // never half a character
}

}  // namespace
}  // namespace kata
