#include "sandbox/resources_update.h"

#include <algorithm>
#include <utility>

namespace kata::sandbox {
namespace {

template <typename T>
void Overlay(std::optional<T>& value, const std::optional<T>& update) {
  if (update.value_or(T()) != T()) value = update;
}
// Where zero is a value.
template <typename T>
void OverlayAny(std::optional<T>& value, const std::optional<T>& update) {
  if (update) value = update;
}
void Overlay(std::string& value, const std::string& update) {
  if (!update.empty()) value = update;
}

void Merge(oci::MemoryResources& memory, const oci::MemoryResources& update) {
  Overlay(memory.limit, update.limit);
  Overlay(memory.reservation, update.reservation);
  Overlay(memory.swap, update.swap);
  // Without a limit of memory one of memory and swap together says nothing.
  if (update.limit == -1 && update.swap.value_or(0) == 0) memory.swap = -1;
}

// Nothing for what is not changed.
std::optional<int64_t> Before(const std::optional<int64_t>& current, const std::optional<int64_t>& change) {
  if (change.value_or(0) == 0) return std::nullopt;
  return current.value_or(0) != 0 ? current : -1;
}

void Merge(oci::CpuResources& cpu, const oci::CpuResources& update) {
  Overlay(cpu.shares, update.shares);
  Overlay(cpu.quota_us, update.quota_us);
  Overlay(cpu.period_us, update.period_us);
  OverlayAny(cpu.burst_us, update.burst_us);
  OverlayAny(cpu.idle, update.idle);
  Overlay(cpu.cpus, update.cpus);
  Overlay(cpu.mems, update.mems);
}

}  // namespace

ResourcesUpdate PlanUpdate(const oci::Resources& current, const oci::Resources& update) {
  ResourcesUpdate plan{.changes = update, .result = current};
  plan.changes.devices.clear();
  if (update.memory) {
    if (!plan.result.memory) plan.result.memory.emplace();
    Merge(*plan.result.memory, *update.memory);
    if (update.memory->limit.value_or(0) != 0 || update.memory->swap.value_or(0) != 0) {
      plan.changes.memory->limit = plan.result.memory->limit;
      plan.changes.memory->swap = plan.result.memory->swap;
    }
    const oci::MemoryResources before = current.memory.value_or(oci::MemoryResources());
    plan.memory_before = {.limit = Before(before.limit, plan.changes.memory->limit),
                          .reservation = Before(before.reservation, plan.changes.memory->reservation),
                          .swap = Before(before.swap, plan.changes.memory->swap)};
  }
  if (update.cpu) {
    if (!plan.result.cpu) plan.result.cpu.emplace();
    Merge(*plan.result.cpu, *update.cpu);
    if (update.cpu->quota_us.value_or(0) != 0 || update.cpu->period_us.value_or(0) != 0) {
      plan.changes.cpu->quota_us = plan.result.cpu->quota_us;
      plan.changes.cpu->period_us = plan.result.cpu->period_us;
    }
    // With the end of idleness the kernel gives a group the default weight; while it is idle it takes none.
    const bool idle = plan.result.cpu->idle.value_or(0) == 1;
    if (update.cpu->idle && !idle) plan.changes.cpu->shares = plan.result.cpu->shares;
    if (idle) plan.changes.cpu->shares.reset();
  }
  // The rest has no members that depend on each other, so nothing is asked later of what held.
  return plan;
}

}  // namespace kata::sandbox
