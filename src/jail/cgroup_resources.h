// Resource limits of a container as values for files of its cgroup (version 2).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "linux/cgroup2.h"
#include "linux/knob_changes.h"
#include "oci/spec.h"

namespace kata::jail {

struct CgroupWrite {
  std::string file;
  std::string value;
  // The kernel may lack the file, and then already does what the value says (no swap: no limit of swap).
  bool optional = false;
  // The kernel may refuse the value until a later one of the plan is written; then it is written again at the
  // end.
  bool deferrable = false;
  bool operator==(const CgroupWrite&) const = default;
};

// In the order to write. Absent members, and zeros where zero means "not set", give nothing.
// `current_cpu_max` is the content of cpu.max, whose first word is kept when only the period changes.
// kInvalidArgument for limits that contradict each other.
Result<std::vector<CgroupWrite>> PlanCgroupWrites(const oci::Resources& resources,
                                                  const std::string& current_cpu_max = "max 100000");

// Writes the plan, as `changes`, which must not outlive `cgroup`. Devices are not part of it
// (device_cgroup.h). kFailedPrecondition where memory.checkBeforeUpdate asks to refuse a limit below what is
// used.
Status ApplyCgroupResources(const linux::CgroupDir& cgroup, const oci::Resources& resources,
                            linux::KnobChanges& changes);

// Says why a container's first process was killed for lack of memory before its start, by the content of
// memory.max: a cgroup without a limit counts what is killed when those above it are full.
Error KilledForMemory(const std::string& memory_max);

}  // namespace kata::jail
