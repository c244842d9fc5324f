// Tests of jail/process_attributes.h and jail/credentials.h.
#include "jail/process_attributes.h"

#include "jail/credentials.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsErrorCode;

TEST(CapabilityResolutionTest, UnknownNamesAndImpossibleAmbientOnesAreLeftOut) {
  oci::Capabilities capabilities;
  capabilities.bounding = {"CAP_CHOWN", "CAP_NOSUCH", "CAP_BPF"};
  capabilities.permitted = {"CAP_CHOWN"};
  capabilities.inheritable = {"CAP_CHOWN"};
  capabilities.ambient = {"CAP_CHOWN", "CAP_KILL"};
  const linux::CapabilitySets sets = ResolveCapabilities(capabilities, 0xff);
  EXPECT_EQ(sets.bounding, 1u);
  EXPECT_EQ(sets.ambient, 1u);
  EXPECT_EQ(ResolveCapabilities(std::nullopt, ~0ull), linux::CapabilitySets());
}

TEST(CpuListTest, RangesAndErrors) {
  ASSERT_OK_AND_ASSIGN(const cpu_set_t set, ParseCpuList("0-2,5"));
  EXPECT_EQ(CPU_COUNT(&set), 4);
  EXPECT_TRUE(CPU_ISSET(5, &set));
  for (const char* list : {"", "a", "3-1", "1-", "-1", "99999", "1,,2"}) {
    EXPECT_THAT(ParseCpuList(list), IsErrorCode(Code::kInvalidArgument)) << list;
  }
}

}  // namespace
}  // namespace kata::jail
