// SizeMachine.
#include "sandbox/machine_size.h"

#include <algorithm>

namespace kata::sandbox {
namespace {

constexpr uint64_t kMib = 1u << 20;
// Less does not boot: kernel, unpacked initrd and agent.
constexpr uint64_t kMinMemoryMib = 96;
// The kernel's default period (Documentation/scheduler/sched-bwc.rst).
constexpr uint64_t kDefaultPeriodUs = 100'000;

uint32_t CpusOf(const oci::CpuResources& cpu, uint32_t otherwise) {
  if (cpu.quota_us.value_or(0) <= 0) return otherwise;
  const uint64_t period = std::max<uint64_t>(cpu.period_us.value_or(kDefaultPeriodUs), 1);
  const auto quota = static_cast<uint64_t>(*cpu.quota_us);
  const uint64_t cpus = quota / period + (quota % period != 0 ? 1 : 0);
  return static_cast<uint32_t>(std::min<uint64_t>(cpus, UINT32_MAX));
}

uint64_t MemoryOf(const oci::MemoryResources& memory, const config::HypervisorConfig& config) {
  if (memory.limit.value_or(0) <= 0) return config.default_memory_mib;
  const auto limit = static_cast<uint64_t>(*memory.limit);
  const uint64_t limit_mib = limit / kMib + (limit % kMib != 0 ? 1 : 0);
  return std::max(limit_mib + config.overhead_memory_mib, kMinMemoryMib);
}

}  // namespace

MachineSize SizeMachine(const config::HypervisorConfig& config, const oci::Spec& spec) {
  MachineSize size{config.default_vcpus, config.default_memory_mib};
  if (!spec.linux || !spec.linux->resources) return size;
  const oci::Resources& resources = *spec.linux->resources;
  if (resources.cpu)
    size.vcpus = std::min(CpusOf(*resources.cpu, config.default_vcpus), config.default_max_vcpus);
  if (resources.memory) {
    size.memory_mib = std::min(MemoryOf(*resources.memory, config), config.default_max_memory_mib);
  }
  return size;
}

}  // namespace kata::sandbox
