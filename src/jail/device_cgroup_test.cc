// Tests of jail/device_cgroup.h.
#include "jail/device_cgroup.h"

#include "support/result_matchers.h"

namespace kata::jail {
namespace {

// What the kernel would do with the program: the few instructions that the compiler makes.
bool Allows(const std::vector<bpf_insn>& code, uint32_t type, uint32_t rights, uint32_t major,
            uint32_t minor) {
  uint32_t reg[11] = {};
  const uint32_t context[] = {rights << 16 | type, major, minor};
  for (size_t pc = 0; pc < code.size(); ++pc) {
    const bpf_insn& i = code[pc];
    const auto immediate = static_cast<uint32_t>(i.imm);
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        reg[i.dst_reg] = context[i.off / 4];
        break;
      case BPF_ALU | BPF_MOV | BPF_X:
        reg[i.dst_reg] = reg[i.src_reg];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        reg[i.dst_reg] = immediate;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        reg[i.dst_reg] &= immediate;
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        reg[i.dst_reg] >>= immediate;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (reg[i.dst_reg] != immediate) pc += static_cast<size_t>(i.off);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        if (reg[i.dst_reg] == immediate) pc += static_cast<size_t>(i.off);
        break;
      case BPF_JMP | BPF_EXIT:
        return reg[0] != 0;
      default:
        ADD_FAILURE() << "unexpected instruction " << int{i.code};
        return false;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return false;
}

constexpr uint32_t kBlock = BPF_DEVCG_DEV_BLOCK;
constexpr uint32_t kChar = BPF_DEVCG_DEV_CHAR;
constexpr uint32_t kMake = BPF_DEVCG_ACC_MKNOD;
constexpr uint32_t kRead = BPF_DEVCG_ACC_READ;
constexpr uint32_t kWrite = BPF_DEVCG_ACC_WRITE;

TEST(DeviceRulesTest, TheLastRuleForEachRightDecides) {
  ASSERT_OK_AND_ASSIGN(const auto code, CompileDeviceRules({{true, "c", 10, {}, "rwm"},
                                                            {false, "c", 10, 200, "w"},
                                                            {true, "b", 8, 0, "r"},
                                                            {true, "b", 8, {}, "w"}}));
  EXPECT_TRUE(Allows(code, kChar, kRead | kWrite | kMake, 10, 1));
  EXPECT_TRUE(Allows(code, kChar, kRead, 10, 200));
  EXPECT_FALSE(Allows(code, kChar, kRead | kWrite, 10, 200));
  // Granted by two rules together.
  EXPECT_TRUE(Allows(code, kBlock, kRead | kWrite, 8, 0));
  EXPECT_FALSE(Allows(code, kBlock, kRead | kWrite, 8, 1));
  EXPECT_FALSE(Allows(code, kChar, kRead, 8, 0));
}

TEST(DeviceRulesTest, NothingIsAllowedWithoutARule) {
  ASSERT_OK_AND_ASSIGN(const auto code, CompileDeviceRules({}));
  EXPECT_FALSE(Allows(code, kChar, kRead, 1, 3));
}

TEST(DeviceRulesTest, EveryContainerHasItsDefaultDevices) {
  ASSERT_OK_AND_ASSIGN(const auto code,
                       CompileDeviceRules(EffectiveDeviceRules({{false, "a", {}, {}, "rwm"}})));
  EXPECT_TRUE(Allows(code, kChar, kRead | kWrite, 1, 3));
  EXPECT_TRUE(Allows(code, kChar, kRead | kWrite, 136, 5));
  EXPECT_TRUE(Allows(code, kBlock, kMake, 8, 0));
  EXPECT_FALSE(Allows(code, kBlock, kRead, 8, 0));
  EXPECT_FALSE(Allows(code, kChar, kRead, 1, 1));
}

TEST(DeviceRulesTest, AllDevicesForThePrivileged) {
  ASSERT_OK_AND_ASSIGN(const auto code, CompileDeviceRules(EffectiveDeviceRules({{true, "a", -1, -1, ""}})));
  EXPECT_TRUE(Allows(code, kBlock, kRead | kWrite | kMake, 254, 7));
}

TEST(DeviceRulesTest, TheGuestsConsoleIsNobodys) {
  for (const oci::DeviceRule& rule : {oci::DeviceRule{true, "a", {}, {}, "rwm"}, {true, "c", 5, 1, "rwm"}}) {
    ASSERT_OK_AND_ASSIGN(const auto code, CompileDeviceRules(EffectiveDeviceRules({rule})));
    EXPECT_FALSE(Allows(code, kChar, kRead, 5, 1));
    EXPECT_FALSE(Allows(code, kChar, kWrite, 5, 1));
    EXPECT_TRUE(Allows(code, kChar, kMake, 5, 1));
  }
}

TEST(DeviceRulesTest, DevicesOfASpecWithoutRulesMayBeUsed) {
  oci::Spec spec;
  EXPECT_TRUE(DeviceRulesOf(spec).empty());
  spec.linux = oci::Linux();
  spec.linux->devices = {{"/dev/vdb", "b", 254, 16, {}, {}, {}}, {"/dev/pipe", "p", 0, 0, {}, {}, {}}};
  ASSERT_OK_AND_ASSIGN(const auto code, CompileDeviceRules(DeviceRulesOf(spec)));
  EXPECT_TRUE(Allows(code, kBlock, kRead | kWrite, 254, 16));
  EXPECT_FALSE(Allows(code, kBlock, kRead, 254, 0));
  spec.linux->resources = oci::Resources();
  spec.linux->resources->devices = {{false, "a", {}, {}, "rwm"}};
  EXPECT_EQ(DeviceRulesOf(spec).size(), 1u);
}

TEST(DeviceRulesTest, WrongRulesAreRefused) {
  EXPECT_THAT(CompileDeviceRules({{true, "x", {}, {}, "r"}}), test::IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CompileDeviceRules({{true, "c", {}, {}, "rx"}}), test::IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::jail
