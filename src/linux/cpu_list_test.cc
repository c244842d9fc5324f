// Tests of linux/cpu_list.h.
#include "linux/cpu_list.h"

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;
using testing::ElementsAre;

TEST(CpuListTest, RangesAndErrors) {
  ASSERT_OK_AND_ASSIGN(const auto ranges, ParseCpuList("0-2,5,4294967295"));
  EXPECT_THAT(ranges, ElementsAre(CpuRange{0, 2}, CpuRange{5, 5}, CpuRange{4294967295, 4294967295}));
  for (const char* list : {"", "a", "3-1", "1-", "-1", "4294967296", "1,,2", "1,", " 1", "1\n"}) {
    EXPECT_THAT(ParseCpuList(list), IsErrorCode(Code::kInvalidArgument)) << list;
  }
}

}  // namespace
}  // namespace kata::linux
