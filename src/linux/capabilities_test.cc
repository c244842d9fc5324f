// Tests of linux/capabilities.h and linux/rlimits.h.
#include "linux/capabilities.h"

#include <linux/capability.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "linux/rlimits.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

TEST(CapabilitiesTest, NamesAndNumbersAgreeWithTheKernels) {
  EXPECT_EQ(CapabilityNumber("CAP_CHOWN"), CAP_CHOWN);
  EXPECT_EQ(CapabilityNumber("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
  EXPECT_EQ(CapabilityNumber("CAP_SETFCAP"), CAP_SETFCAP);
  EXPECT_EQ(CapabilityNumber("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
  EXPECT_EQ(CapabilityNumber("SYS_ADMIN"), std::nullopt);
  for (int i = 0; i <= CAP_LAST_CAP; ++i) EXPECT_EQ(CapabilityNumber(CapabilityName(i)), i);
  EXPECT_EQ(CapabilityName(64), "");
  EXPECT_NE(KernelCapabilities() & CapabilityBit(CAP_CHOWN), 0u);
}

// In a thread of its own: capabilities belong to threads.
TEST(CapabilitiesTest, SetsAreThoseThatWereSet) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  std::thread([] {
    const CapabilitySet kill = CapabilityBit(CAP_KILL);
    const CapabilitySet chown = CapabilityBit(CAP_CHOWN);
    ASSERT_OK(LimitBoundingSet(kill | chown));
    ASSERT_OK(SetCapabilities(kill, kill | chown, kill));
    ASSERT_OK(SetAmbientSet(kill));
    ASSERT_OK_AND_ASSIGN(const std::string status, ReadFile("/proc/thread-self/status"));
    EXPECT_THAT(status,
                testing::HasSubstr(fmt::format("CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\n"
                                               "CapBnd:\t{:016x}\nCapAmb:\t{:016x}\n",
                                               kill, kill | chown, kill, kill | chown, kill)));
    EXPECT_THAT(SetAmbientSet(chown), test::IsErrorCode(Code::kPermissionDenied));
  }).join();
}

TEST(RlimitsTest, Names) {
  ASSERT_OK(ParseRlimit("RLIMIT_NOFILE"));
  EXPECT_THAT(ParseRlimit("NOFILE"), test::IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(SetRlimit("RLIMIT_CORE", 2, 1), test::IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::linux
