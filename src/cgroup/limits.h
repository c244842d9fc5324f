// linux.resources as limits of the host's control groups around a virtual machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "oci/spec.h"

namespace kata::cgroup {

// What the machine needs besides the container in it.
struct Overhead {
  uint64_t vm_memory_bytes = 0;  // of the guest: all of it may become resident
  uint64_t vmm_bytes = 0;        // of the VMM and its helpers
};

struct Setting {
  std::string controller;  // "memory"
  std::string file;        // "memory.max"
  std::string value;
  // Nothing else enforces it; else a host without the controller or the file is no failure, as the guest has
  // the same limit.
  bool required = false;
  std::string fallback = {};  // where the kernel refuses `value`; empty: none
  bool operator==(const Setting&) const = default;
};

struct Limits {
  std::vector<Setting> at_creation;   // before the machine starts
  std::vector<Setting> when_created;  // rates: the boot is not the container's work
};

// In the order to write. What is absent, or zero where zero means "not set", gives nothing. What the guest
// alone can enforce or what would hit the VMM instead of the container is left out: pids, huge pages,
// devices, networks, RDMA, OOM settings, kernel memory, real-time budgets, `unified`.
Limits PlanLimits(bool unified, const oci::Resources& resources, const Overhead& overhead);

}  // namespace kata::cgroup
