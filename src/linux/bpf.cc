#include "linux/bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace kata::linux {
namespace {

// Cleared whole: the kernel refuses attributes with bits set behind the members of a command.
struct Attributes {
  Attributes() { std::memset(&value, 0, sizeof value); }
  bpf_attr value;
};

long Bpf(int command, Attributes& attributes) {
  return syscall(SYS_bpf, command, &attributes.value, sizeof attributes.value);
}

}  // namespace

bpf_insn BpfInstruction(int code, uint8_t destination, uint8_t source, int16_t offset, int32_t immediate) {
  bpf_insn instruction{};
  instruction.code = static_cast<uint8_t>(code);
  instruction.dst_reg = destination & 0xf;
  instruction.src_reg = source & 0xf;
  instruction.off = offset;
  instruction.imm = immediate;
  return instruction;
}

Result<UniqueFd> LoadBpfProgram(bpf_prog_type type, bpf_attach_type attach_type,
                                const std::vector<bpf_insn>& code) {
  static constexpr char kLicense[] = "Apache-2.0";
  Attributes attributes;
  attributes.value.prog_type = type;
  attributes.value.expected_attach_type = attach_type;
  attributes.value.insns = reinterpret_cast<uintptr_t>(code.data());
  attributes.value.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.value.license = reinterpret_cast<uintptr_t>(kLicense);
  UniqueFd program(static_cast<int>(Bpf(BPF_PROG_LOAD, attributes)));
  if (!program) return SysError("load bpf program");
  return program;
}

Status AttachBpfProgram(int cgroup_fd, int program, bpf_attach_type type, int replaced) {
  Attributes attributes;
  attributes.value.target_fd = static_cast<uint32_t>(cgroup_fd);
  attributes.value.attach_bpf_fd = static_cast<uint32_t>(program);
  attributes.value.attach_type = type;
  attributes.value.attach_flags = BPF_F_ALLOW_MULTI;
  if (replaced >= 0) {
    attributes.value.attach_flags |= BPF_F_REPLACE;
    attributes.value.replace_bpf_fd = static_cast<uint32_t>(replaced);
  }
  if (Bpf(BPF_PROG_ATTACH, attributes) < 0) return SysError("attach bpf program");
  return {};
}

Result<UniqueFd> LinkBpfProgram(int cgroup_fd, int program, bpf_attach_type type) {
  Attributes attributes;
  attributes.value.link_create.target_fd = static_cast<uint32_t>(cgroup_fd);
  attributes.value.link_create.prog_fd = static_cast<uint32_t>(program);
  attributes.value.link_create.attach_type = type;
  UniqueFd link(static_cast<int>(Bpf(BPF_LINK_CREATE, attributes)));
  if (!link) return SysError("attach bpf program");
  return link;
}

}  // namespace kata::linux
