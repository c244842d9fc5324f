// Small eBPF programs of cgroups, written instruction by instruction: there is no compiler in a guest.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// `code` is class, operation and mode or'ed together, as in <linux/bpf.h>.
bpf_insn BpfInstruction(int code, uint8_t destination, uint8_t source, int16_t offset, int32_t immediate);

// bpf(2), BPF_PROG_LOAD, for a program that shall be attached as `attach_type`. The kernel's reason for
// refusing a program is an errno only.
Result<UniqueFd> LoadBpfProgram(bpf_prog_type type, bpf_attach_type attach_type,
                                const std::vector<bpf_insn>& code);

// Attaches a program to a cgroup, and so to all below it, beside those that are there. `replaced`: one that
// it takes the place of at once, or -1. It stays until the cgroup is removed.
Status AttachBpfProgram(int cgroup_fd, int program, bpf_attach_type type, int replaced = -1);

// The same for as long as the descriptor that is returned is open.
Result<UniqueFd> LinkBpfProgram(int cgroup_fd, int program, bpf_attach_type type);

}  // namespace kata::linux
