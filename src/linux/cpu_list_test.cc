#include "linux/cpu_list.h"

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;

TEST(CpuListTest, Ranges) {
  ASSERT_OK_AND_ASSIGN(const CpuSet set, ParseCpuList("0-2,5"));
  EXPECT_EQ(set, CpuSet(0b100111));
  ASSERT_OK_AND_ASSIGN(const CpuSet highest, ParseCpuList("8191"));
  EXPECT_TRUE(highest.test(8191));
}

TEST(CpuListTest, PartsOfGroups) {
  ASSERT_OK_AND_ASSIGN(const CpuSet set, ParseCpuList("1-9:2/4,12"));
  EXPECT_EQ(set, CpuSet(0b1001001100110));
}

TEST(CpuListTest, Errors) {
  for (const char* list : {"", "a", "3-1", "1-", "-1", "8192", "99999999999999999999", "1,,2",
                           "0-3:", "0-3:1/", "0-3:1/0", "0-3:3/2", "0-3:0/2", "0:1/2", "0-3:1/2x"}) {
    EXPECT_THAT(ParseCpuList(list), IsErrorCode(Code::kInvalidArgument)) << list;
  }
}

}  // namespace
}  // namespace kata::linux
