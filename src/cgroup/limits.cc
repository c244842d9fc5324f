#include "cgroup/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "linux/cgroup_weights.h"

namespace kata::cgroup {
namespace {

using Settings = std::vector<Setting>;

constexpr int64_t kUnlimited = -1;

std::string Number(int64_t value) {
  return fmt::format("{}", value);
}
std::string MaxOr(int64_t value) {
  return value < 0 ? "max" : Number(value);
}

// A limit below the machine's own memory would kill the VMM for what the guest's kernel does; the container
// is limited in the guest. The sum does not overflow: what is that large is no limit.
int64_t WithOverhead(int64_t limit, const Overhead& overhead) {
  if (limit < 0) return kUnlimited;
  const uint64_t needed = std::max(static_cast<uint64_t>(limit), overhead.vm_memory_bytes);
  if (needed > static_cast<uint64_t>(INT64_MAX) - overhead.vmm_bytes) return kUnlimited;
  return static_cast<int64_t>(needed + overhead.vmm_bytes);
}

// How much swap besides the limit of memory; kUnlimited, or nothing to set (0 in `swap`).
int64_t SwapBeside(const oci::MemoryResources& memory) {
  const int64_t swap = memory.swap.value_or(0);
  return swap < 0 ? kUnlimited : std::max<int64_t>(0, swap - memory.limit.value_or(0));
}

void PlanMemory(bool unified, const oci::MemoryResources& memory, const Overhead& overhead,
                Settings& settings) {
  const int64_t wanted = memory.limit.value_or(0);
  const int64_t limit = wanted != 0 ? WithOverhead(wanted, overhead) : 0;
  const int64_t swap = SwapBeside(memory);
  const bool set_swap = memory.swap.value_or(0) != 0 && (swap == kUnlimited || wanted > 0);
  if (unified) {
    if (limit != 0) settings.push_back({"memory", "memory.max", MaxOr(limit)});
    if (set_swap) settings.push_back({"memory", "memory.swap.max", MaxOr(swap)});
    // Without a limit nothing is held back for it: the same as none.
    if (memory.reservation.value_or(0) != 0) {
      settings.push_back({"memory", "memory.low", Number(std::max<int64_t>(*memory.reservation, 0))});
    }
    return;
  }
  if (limit != 0) settings.push_back({"memory", "memory.limit_in_bytes", Number(limit)});
  if (set_swap) {
    const bool bounded = swap != kUnlimited && limit > 0;
    settings.push_back(
        {"memory", "memory.memsw.limit_in_bytes", Number(bounded ? limit + swap : kUnlimited)});
  }
  if (memory.reservation.value_or(0) != 0) {
    settings.push_back(
        {"memory", "memory.soft_limit_in_bytes", Number(WithOverhead(*memory.reservation, overhead))});
  }
}

// A tenth of a processor at least: with less the guest's kernel and agent, and what serves them here, answer
// too late for those who wait. The container's own limit holds in the guest.
int64_t HostQuota(int64_t quota_us, uint64_t period_us) {
  constexpr int64_t kDefaultPeriodUs = 100'000;  // the kernel's
  constexpr int64_t kLeastUs = 1000;             // with less the kernel refuses it, and shall
  if (quota_us < kLeastUs) return quota_us;
  return std::max(quota_us, (period_us != 0 ? static_cast<int64_t>(period_us) : kDefaultPeriodUs) / 10);
}

void PlanCpuTime(bool unified, const oci::CpuResources& cpu, Settings& settings) {
  const uint64_t shares = cpu.shares.value_or(0);
  const uint64_t period = cpu.period_us.value_or(0);
  const int64_t quota = HostQuota(cpu.quota_us.value_or(0), period);
  const auto add = [&](const char* file, std::string value) {
    settings.push_back({"cpu", file, std::move(value)});
  };
  if (cpu.idle) add("cpu.idle", Number(*cpu.idle));
  // The weight of an idle group is fixed: the kernel takes no other (EINVAL).
  const bool set_weight = shares != 0 && cpu.idle.value_or(0) != 1;
  if (unified) {
    if (set_weight) add("cpu.weight", fmt::format("{}", linux::CpuWeightFromShares(shares)));
    if (quota != 0) {
      add("cpu.max", period != 0 ? fmt::format("{} {}", MaxOr(quota), period) : MaxOr(quota));
    }
    if (cpu.burst_us) add("cpu.max.burst", fmt::format("{}", *cpu.burst_us));
    return;
  }
  if (set_weight) add("cpu.shares", fmt::format("{}", shares));
  if (period != 0) add("cpu.cfs_period_us", fmt::format("{}", period));
  if (quota != 0) {
    const int64_t asked = cpu.quota_us.value_or(0);
    add("cpu.cfs_quota_us", Number(std::max(quota, kUnlimited)));
    // No group may have more than the one above it (EINVAL), which may have as little as was asked for.
    if (quota != asked && asked > 0) settings.back().fallback = Number(asked);
  }
  if (cpu.burst_us) add("cpu.cfs_burst_us", fmt::format("{}", *cpu.burst_us));
}

// The guest numbers its processors itself.
void PlanCpuset(const oci::CpuResources& cpu, Settings& settings) {
  if (!cpu.cpus.empty()) settings.push_back({"cpuset", "cpuset.cpus", cpu.cpus, true});
  if (!cpu.mems.empty()) settings.push_back({"cpuset", "cpuset.mems", cpu.mems, true});
}

struct ThrottleKind {
  std::vector<oci::ThrottleDevice> oci::BlockIoResources::* devices;
  const char* v1_file;
  const char* v2_key;
};
constexpr ThrottleKind kThrottleKinds[] = {
    {&oci::BlockIoResources::throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps"},
    {&oci::BlockIoResources::throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps"},
    {&oci::BlockIoResources::throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops"},
    {&oci::BlockIoResources::throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops"},
};

// Devices have the host's numbers here, so nobody else can hold these.
void PlanBlockIo(bool unified, const oci::BlockIoResources& io, Settings& settings) {
  const uint64_t weight = io.weight.value_or(0);
  if (weight != 0) {
    if (unified) {
      settings.push_back({"io", "io.weight", fmt::format("default {}", linux::IoWeightFromBlkio(weight))});
    } else {
      settings.push_back({"blkio", "blkio.weight", fmt::format("{}", weight)});
    }
  }
  // Of the BFQ scheduler, the only one that knows weights of single devices.
  const char* const weight_file = unified ? "io.bfq.weight" : "blkio.bfq.weight_device";
  for (const oci::WeightDevice& device : io.weight_device) {
    if (device.weight.value_or(0) == 0) continue;
    settings.push_back({unified ? "io" : "blkio", weight_file,
                        fmt::format("{}:{} {}", device.major, device.minor, *device.weight), true});
  }
  for (const ThrottleKind& kind : kThrottleKinds) {
    for (const oci::ThrottleDevice& device : io.*kind.devices) {
      const std::string number = fmt::format("{}:{}", device.major, device.minor);
      if (unified) {
        // A rate of 0 removed the limit in version 1.
        const std::string rate = device.rate == 0 ? "max" : fmt::format("{}", device.rate);
        settings.push_back({"io", "io.max", fmt::format("{} {}={}", number, kind.v2_key, rate), true});
      } else {
        settings.push_back({"blkio", kind.v1_file, fmt::format("{} {}", number, device.rate), true});
      }
    }
  }
}

}  // namespace

Limits PlanLimits(bool unified, const oci::Resources& resources, const Overhead& overhead) {
  Limits limits;
  if (resources.memory) PlanMemory(unified, *resources.memory, overhead, limits.at_creation);
  if (resources.cpu) {
    PlanCpuset(*resources.cpu, limits.at_creation);
    PlanCpuTime(unified, *resources.cpu, limits.when_created);
  }
  if (resources.block_io) PlanBlockIo(unified, *resources.block_io, limits.when_created);
  return limits;
}

}  // namespace kata::cgroup
