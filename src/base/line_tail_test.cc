#include "base/line_tail.h"

#include <gmock/gmock.h>

#include <vector>

namespace kata {
namespace {

using testing::ElementsAre;

std::vector<std::string> Lines(LineTail& tail, std::string_view bytes) {
  std::vector<std::string> lines;
  tail.Append(bytes, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

TEST(LineTailTest, SplitsAcrossReadsAndDropsControls) {
  LineTail tail(10, 100, 1000);
  EXPECT_THAT(Lines(tail, "one\r\ntw"), ElementsAre("one"));
  EXPECT_THAT(Lines(tail, "o\n\n\x1b[31mred\x7f\tq\n"), ElementsAre("two", "[31mred\tq"));
  EXPECT_THAT(Lines(tail, "unfinished"), ElementsAre());
  tail.Finish(nullptr);
  EXPECT_THAT(tail.lines(), ElementsAre("one", "two", "[31mred\tq", "unfinished"));
}

TEST(LineTailTest, IsBoundedInEveryDirection) {
  LineTail few(2, 100, 1000);
  Lines(few, "1\n2\n3\n");
  EXPECT_THAT(few.lines(), ElementsAre("2", "3"));
  LineTail narrow(10, 4, 1000);
  EXPECT_THAT(Lines(narrow, "123456789\n"), ElementsAre("1234"));
  LineTail small(10, 10, 10);
  Lines(small, "aaaa\nbbbb\ncccc\n");
  EXPECT_THAT(small.lines(), ElementsAre("bbbb", "cccc"));
}

TEST(LineTailTest, SummaryIsOnePrintableLine) {
  LineTail tail(10, 100, 1000);
  Lines(tail, "a\tb\x01\x7f\xc3\xa4\n\xff\nthird\nfourth\n");
  EXPECT_EQ(tail.Summary([](std::string_view line) { return line != "fourth"; }),
            "a b\xc3\xa4 | \xef\xbf\xbd | third");
}

TEST(ErrorOutputTest, WarningsAreNoCause) {
  ErrorOutput output;
  output.Append("qemu: warning: TCG doesn't support requested feature\nqemu: -kernel: No such file\n");
  output.Append("qemu: warning: other\n");
  output.Finish();
  EXPECT_EQ(output.Summary(), "qemu: -kernel: No such file");
}

}  // namespace
}  // namespace kata
