// Which devices a container may open and make: in cgroup v2 a BPF program attached to the cgroup.
#pragma once

#include <linux/bpf.h>

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "linux/cgroup2.h"
#include "oci/spec.h"

namespace kata::jail {

// The spec's rules, then those that every container has: making nodes of any kind, using null, zero, full,
// tty, random, urandom and pseudo-terminals, and never the guest's console. A later rule overrides an earlier
// one; what no rule speaks of is denied.
std::vector<oci::DeviceRule> EffectiveDeviceRules(const std::vector<oci::DeviceRule>& rules);

// The rules of a spec. Where it has none, those devices are allowed that it wants in /dev: some engines leave
// the rules to the runtime.
std::vector<oci::DeviceRule> DeviceRulesOf(const oci::Spec& spec);

// Each requested right (r, w, m) is decided by the last rule for the device that names it; access is granted
// when all are. kInvalidArgument for an unknown type or access letter.
Result<std::vector<bpf_insn>> CompileDeviceRules(const std::vector<oci::DeviceRule>& rules);

// The program in force for one cgroup; stays attached after destruction, until the cgroup is removed.
class DeviceFilter {
 public:
  // Attaches a program for `rules`, replacing the one attached before by this object.
  Status Apply(const linux::CgroupDir& cgroup, const std::vector<oci::DeviceRule>& rules);

 private:
  UniqueFd program_;
};

}  // namespace kata::jail
