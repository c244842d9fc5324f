// Code for BPF_PROG_TYPE_CGROUP_DEVICE. Rules are tried from the last to the first; a register holds the
// rights that no rule has granted yet.
#include "jail/device_cgroup.h"

#include <cstddef>
#include <optional>

#include "linux/bpf.h"

namespace kata::jail {
namespace {

using linux::BpfInstruction;

// r2: type, r3: rights still to be granted, r4: major, r5: minor, r6: scratch.
constexpr uint8_t kType = BPF_REG_2;
constexpr uint8_t kRights = BPF_REG_3;
constexpr uint8_t kMajor = BPF_REG_4;
constexpr uint8_t kMinor = BPF_REG_5;
constexpr uint8_t kScratch = BPF_REG_6;

constexpr uint32_t kAllRights = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

bpf_insn Load(uint8_t destination, size_t offset) {
  return BpfInstruction(BPF_LDX | BPF_MEM | BPF_W, destination, BPF_REG_1, static_cast<int16_t>(offset), 0);
}
bpf_insn AluImmediate(int operation, uint8_t destination, int32_t immediate) {
  return BpfInstruction(BPF_ALU | operation | BPF_K, destination, 0, 0, immediate);
}
bpf_insn Move(uint8_t destination, uint8_t source) {
  return BpfInstruction(BPF_ALU | BPF_MOV | BPF_X, destination, source, 0, 0);
}
bpf_insn JumpIf(int condition, uint8_t reg, int32_t immediate, size_t skip) {
  return BpfInstruction(BPF_JMP | condition | BPF_K, reg, 0, static_cast<int16_t>(skip), immediate);
}

void AppendReturn(std::vector<bpf_insn>& code, int32_t allow) {
  code.push_back(BpfInstruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow));
  code.push_back(BpfInstruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

Result<uint32_t> ParseRights(const std::string& access) {
  uint32_t rights = 0;
  for (const char c : access) {
    if (c == 'r') {
      rights |= BPF_DEVCG_ACC_READ;
    } else if (c == 'w') {
      rights |= BPF_DEVCG_ACC_WRITE;
    } else if (c == 'm') {
      rights |= BPF_DEVCG_ACC_MKNOD;
    } else {
      return MakeError(Code::kInvalidArgument, "device rule: unknown access '{}'", access);
    }
  }
  return access.empty() ? kAllRights : rights;
}

// 0: every type.
Result<int32_t> ParseType(const std::string& type) {
  if (type == "c" || type == "u") return BPF_DEVCG_DEV_CHAR;
  if (type == "b") return BPF_DEVCG_DEV_BLOCK;
  if (type == "a" || type.empty()) return 0;
  return MakeError(Code::kInvalidArgument, "device rule: unknown type '{}'", type);
}

// -1 stood for "all" before the member could be absent.
bool IsSpecific(const std::optional<int64_t>& number) {
  return number && *number >= 0;
}

Result<std::vector<bpf_insn>> CompileRule(const oci::DeviceRule& rule) {
  const int32_t type = TRY(ParseType(rule.type));
  const auto rights = static_cast<int32_t>(TRY(ParseRights(rule.access)));
  std::vector<bpf_insn> body;
  if (rule.allow) {
    body.push_back(AluImmediate(BPF_AND, kRights, ~rights));
    body.push_back(JumpIf(BPF_JNE, kRights, 0, 2));
    AppendReturn(body, 1);
  } else {
    body.push_back(Move(kScratch, kRights));
    body.push_back(AluImmediate(BPF_AND, kScratch, rights));
    body.push_back(JumpIf(BPF_JEQ, kScratch, 0, 2));
    AppendReturn(body, 0);
  }
  struct Condition {
    uint8_t reg;
    int32_t value;
  };
  std::vector<Condition> conditions;
  if (type != 0) conditions.push_back({kType, type});
  if (IsSpecific(rule.major)) conditions.push_back({kMajor, static_cast<int32_t>(*rule.major)});
  if (IsSpecific(rule.minor)) conditions.push_back({kMinor, static_cast<int32_t>(*rule.minor)});
  std::vector<bpf_insn> code;
  code.reserve(conditions.size() + body.size());
  for (size_t i = 0; i < conditions.size(); ++i) {
    code.push_back(
        JumpIf(BPF_JNE, conditions[i].reg, conditions[i].value, conditions.size() - 1 - i + body.size()));
  }
  code.insert(code.end(), body.begin(), body.end());
  return code;
}

}  // namespace

std::vector<oci::DeviceRule> EffectiveDeviceRules(const std::vector<oci::DeviceRule>& rules) {
  static const std::vector<oci::DeviceRule> kAlways{
      {true, "c", std::nullopt, std::nullopt, "m"},
      {true, "b", std::nullopt, std::nullopt, "m"},
      {true, "c", 1, 3, "rwm"},               // null
      {true, "c", 1, 5, "rwm"},               // zero
      {true, "c", 1, 7, "rwm"},               // full
      {true, "c", 1, 8, "rwm"},               // random
      {true, "c", 1, 9, "rwm"},               // urandom
      {true, "c", 5, 0, "rwm"},               // tty
      {true, "c", 5, 2, "rwm"},               // ptmx
      {true, "c", 136, std::nullopt, "rwm"},  // pts
      // The console is the guest's, which the host reads. A container's /dev/console is a pseudo-terminal;
      // engines allow 5:1 to all containers.
      {false, "c", 5, 1, "rw"},
  };
  std::vector<oci::DeviceRule> all = rules;
  all.insert(all.end(), kAlways.begin(), kAlways.end());
  return all;
}

std::vector<oci::DeviceRule> DeviceRulesOf(const oci::Spec& spec) {
  if (!spec.linux) return {};
  if (spec.linux->resources && !spec.linux->resources->devices.empty()) return spec.linux->resources->devices;
  std::vector<oci::DeviceRule> rules;
  for (const oci::Device& device : spec.linux->devices) {
    if (device.type != "p") rules.push_back({true, device.type, device.major, device.minor, "rwm"});
  }
  return rules;
}

Result<std::vector<bpf_insn>> CompileDeviceRules(const std::vector<oci::DeviceRule>& rules) {
  // access_type holds the type in its lower and the rights in its upper half.
  std::vector<bpf_insn> code{
      Load(kType, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Move(kRights, kType),
      AluImmediate(BPF_AND, kType, 0xffff),
      AluImmediate(BPF_RSH, kRights, 16),
      Load(kMajor, offsetof(bpf_cgroup_dev_ctx, major)),
      Load(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    const std::vector<bpf_insn> part = TRY(CompileRule(*rule));
    code.insert(code.end(), part.begin(), part.end());
  }
  AppendReturn(code, 0);
  return code;
}

Status DeviceFilter::Apply(const linux::CgroupDir& cgroup, const std::vector<oci::DeviceRule>& rules) {
  UniqueFd program = TRY_CTX(linux::LoadBpfProgram(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE,
                                                   TRY(CompileDeviceRules(EffectiveDeviceRules(rules)))),
                             "device filter");
  // Replaced at once: there is no moment without a filter.
  TRY_CTX(linux::AttachBpfProgram(cgroup.fd(), program.get(), BPF_CGROUP_DEVICE, program_.get()),
          "device filter of '{}'", cgroup.directory());
  program_ = std::move(program);
  return {};
}

}  // namespace kata::jail
