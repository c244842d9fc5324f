#include "linux/cpu_list.h"

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;

TEST(CpuListTest, RangesAndErrors) {
  ASSERT_OK_AND_ASSIGN(const cpu_set_t set, ParseCpuList("0-2,5"));
  EXPECT_EQ(CPU_COUNT(&set), 4);
  EXPECT_TRUE(CPU_ISSET(5, &set));
  for (const char* list : {"", "a", "3-1", "1-", "-1", "99999", "1,,2"}) {
    EXPECT_THAT(ParseCpuList(list), IsErrorCode(Code::kInvalidArgument)) << list;
  }
}

}  // namespace
}  // namespace kata::linux
