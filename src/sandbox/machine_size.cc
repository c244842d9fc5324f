// SizeMachine.
#include "sandbox/machine_size.h"

#include <algorithm>

#include "linux/cpu_list.h"

namespace kata::sandbox {
namespace {

constexpr uint64_t kMib = 1u << 20;
// The kernel's default period (Documentation/scheduler/sched-bwc.rst).
constexpr uint64_t kDefaultPeriodUs = 100'000;

// 0: no limit.
uint64_t MilliCpusOfQuota(const oci::CpuResources& cpu) {
  if (cpu.quota_us.value_or(0) <= 0) return 0;
  const uint64_t period = std::max<uint64_t>(cpu.period_us.value_or(kDefaultPeriodUs), 1);
  const auto quota = static_cast<uint64_t>(*cpu.quota_us);
  const uint64_t whole = std::min<uint64_t>(quota / period, UINT32_MAX);
  return whole * 1000 + (quota % period * 1000 + period - 1) / period;
}

// 0: no limit, also where it is none that can be read.
uint64_t MilliCpusOfSet(const oci::CpuResources& cpu) {
  const Result<linux::CpuSet> set = linux::ParseCpuList(cpu.cpus);
  return set ? set->count() * 1000 : 0;
}

// 0: no limit.
uint64_t MilliCpusOf(const oci::Resources& resources) {
  if (!resources.cpu) return 0;
  const uint64_t quota = MilliCpusOfQuota(*resources.cpu);
  const uint64_t set = MilliCpusOfSet(*resources.cpu);
  return quota == 0 || set == 0 ? std::max(quota, set) : std::min(quota, set);
}

// 0: no limit.
uint64_t MemoryMibOf(const oci::Resources& resources) {
  if (!resources.memory || resources.memory->limit.value_or(0) <= 0) return 0;
  const auto limit = static_cast<uint64_t>(*resources.memory->limit);
  return limit / kMib + (limit % kMib != 0 ? 1 : 0);
}

struct Sum {
  uint64_t limits = 0;
  bool unlimited = false;  // one at least has no limit

  void Add(uint64_t limit) {
    limits = std::min(limits + limit, kEnough);
    unlimited = unlimited || limit == 0;
  }
  // More than any machine has, and far from an overflow.
  static constexpr uint64_t kEnough = uint64_t{1} << 52;
};

}  // namespace

MachineSize SizeMachine(const config::HypervisorConfig& config, std::span<const oci::Resources> containers) {
  Sum milli_cpus;
  Sum memory_mib;
  for (const oci::Resources& resources : containers) {
    milli_cpus.Add(MilliCpusOf(resources));
    memory_mib.Add(MemoryMibOf(resources));
  }
  const uint64_t cpus = (milli_cpus.limits + 999) / 1000 + (milli_cpus.unlimited ? config.default_vcpus : 0);
  const uint64_t memory =
      memory_mib.limits + (memory_mib.unlimited ? config.default_memory_mib : config.overhead_memory_mib);
  return {.vcpus = static_cast<uint32_t>(std::clamp<uint64_t>(cpus, 1, config.default_max_vcpus)),
          .memory_mib = std::min(std::max(memory, config::kMinMemoryMib), config.default_max_memory_mib)};
}

}  // namespace kata::sandbox
