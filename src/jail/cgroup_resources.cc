// The table from OCI resources, which speak of cgroup v1, to cgroup v2 files.
#include "jail/cgroup_resources.h"

#include <cerrno>

#include "linux/cgroup_weights.h"

namespace kata::jail {
namespace {

using linux::CpuWeightFromShares;
using linux::IoWeightFromBlkio;
using Writes = std::vector<CgroupWrite>;

std::string MaxOr(int64_t value) {
  return value < 0 ? "max" : fmt::format("{}", value);
}

Status PlanMemory(const oci::MemoryResources& memory, Writes& writes) {
  const int64_t limit = memory.limit.value_or(0);
  int64_t swap = memory.swap.value_or(0);
  // In version 1 a removed memory limit removed that of memory and swap too.
  if (limit == -1 && swap == 0) swap = -1;
  if (swap > 0) {
    if (limit <= 0) return MakeError(Code::kInvalidArgument, "memory.swap needs memory.limit");
    if (swap < limit)
      return MakeError(Code::kInvalidArgument, "memory.swap {} is below memory.limit {}", swap, limit);
    writes.push_back({"memory.swap.max", fmt::format("{}", swap - limit), swap == limit});
  } else if (swap < 0) {
    writes.push_back({"memory.swap.max", "max", true});
  }
  if (limit != 0) writes.push_back({"memory.max", MaxOr(limit)});
  if (memory.reservation.value_or(0) != 0) writes.push_back({"memory.low", MaxOr(*memory.reservation)});
  return {};
}

void PlanCpu(const oci::CpuResources& cpu, const std::string& current_cpu_max, Writes& writes) {
  if (cpu.idle) writes.push_back({"cpu.idle", fmt::format("{}", *cpu.idle), *cpu.idle == 0});
  // The weight of an idle group is fixed: the kernel takes no other (EINVAL).
  if (cpu.shares.value_or(0) != 0 && cpu.idle.value_or(0) != 1) {
    writes.push_back({"cpu.weight", fmt::format("{}", CpuWeightFromShares(*cpu.shares))});
  }
  // A burst must not exceed the quota: for a smaller quota it comes first, for a larger one after it.
  if (cpu.burst_us)
    writes.push_back({"cpu.max.burst", fmt::format("{}", *cpu.burst_us), *cpu.burst_us == 0, true});
  const int64_t quota = cpu.quota_us.value_or(0);
  const uint64_t period = cpu.period_us.value_or(0);
  if (quota != 0 || period != 0) {
    // cpu.max takes the quota alone, but not the period alone.
    std::string value = quota != 0 ? MaxOr(quota) : current_cpu_max.substr(0, current_cpu_max.find(' '));
    if (period != 0) value += fmt::format(" {}", period);
    writes.push_back({"cpu.max", value});
  }
  if (!cpu.cpus.empty()) writes.push_back({"cpuset.cpus", cpu.cpus});
  if (!cpu.mems.empty()) writes.push_back({"cpuset.mems", cpu.mems});
}

void PlanThrottle(const std::vector<oci::ThrottleDevice>& devices, std::string_view key, Writes& writes) {
  for (const oci::ThrottleDevice& device : devices) {
    // A rate of 0 removed the limit in version 1.
    const std::string rate = device.rate == 0 ? "max" : fmt::format("{}", device.rate);
    writes.push_back({"io.max", fmt::format("{}:{} {}={}", device.major, device.minor, key, rate)});
  }
}

void PlanBlockIo(const oci::BlockIoResources& io, Writes& writes) {
  if (io.weight.value_or(0) != 0) {
    writes.push_back({"io.weight", fmt::format("default {}", IoWeightFromBlkio(*io.weight))});
  }
  for (const oci::WeightDevice& device : io.weight_device) {
    if (device.weight.value_or(0) == 0) continue;
    writes.push_back({"io.weight", fmt::format("{}:{} {}", device.major, device.minor,
                                               IoWeightFromBlkio(*device.weight))});
  }
  PlanThrottle(io.throttle_read_bps_device, "rbps", writes);
  PlanThrottle(io.throttle_write_bps_device, "wbps", writes);
  PlanThrottle(io.throttle_read_iops_device, "riops", writes);
  PlanThrottle(io.throttle_write_iops_device, "wiops", writes);
}

void PlanRdma(const std::map<std::string, oci::RdmaLimit>& limits, Writes& writes) {
  for (const auto& [device, limit] : limits) {
    std::string value = device;
    if (limit.hca_handles) value += fmt::format(" hca_handle={}", *limit.hca_handles);
    if (limit.hca_objects) value += fmt::format(" hca_object={}", *limit.hca_objects);
    writes.push_back({"rdma.max", value});
  }
}

Status PlanUnified(const oci::StringMap& unified, Writes& writes) {
  for (const auto& [file, value] : unified) {
    // Files of this cgroup only, and only those of a controller: "cgroup.*" moves and kills processes.
    if (file.find('/') != std::string::npos || file.find('.') == std::string::npos ||
        file.starts_with("cgroup.")) {
      return MakeError(Code::kInvalidArgument, "unified: '{}' is no file of a cgroup controller", file);
    }
    writes.push_back({file, value});
  }
  return {};
}

Status CheckMemoryUsage(const linux::CgroupDir& cgroup, const oci::MemoryResources& memory) {
  if (!memory.check_before_update.value_or(false) || memory.limit.value_or(0) <= 0) return {};
  const uint64_t used = TRY(cgroup.ReadNumber("memory.current"));
  if (used <= static_cast<uint64_t>(*memory.limit)) return {};
  return MakeError(Code::kFailedPrecondition, "memory.limit {} is below the {} bytes that are used",
                   *memory.limit, used);
}

}  // namespace

Result<std::vector<CgroupWrite>> PlanCgroupWrites(const oci::Resources& resources,
                                                  const std::string& current_cpu_max) {
  Writes writes;
  if (resources.memory) TRY(PlanMemory(*resources.memory, writes));
  if (resources.cpu) PlanCpu(*resources.cpu, current_cpu_max, writes);
  if (resources.pids_limit.value_or(0) != 0) writes.push_back({"pids.max", MaxOr(*resources.pids_limit)});
  if (resources.block_io) PlanBlockIo(*resources.block_io, writes);
  for (const oci::HugepageLimit& limit : resources.hugepage_limits) {
    writes.push_back({fmt::format("hugetlb.{}.max", limit.page_size), fmt::format("{}", limit.limit)});
    writes.push_back(
        {fmt::format("hugetlb.{}.rsvd.max", limit.page_size), fmt::format("{}", limit.limit), true});
  }
  PlanRdma(resources.rdma, writes);
  TRY(PlanUnified(resources.unified, writes));
  return writes;
}

Status ApplyCgroupResources(const linux::CgroupDir& cgroup, const oci::Resources& resources,
                            linux::KnobChanges& changes) {
  std::string current_cpu_max = "max 100000";
  if (cgroup.HasFile("cpu.max")) current_cpu_max = TRY(cgroup.Read("cpu.max"));
  const Writes plan = TRY(PlanCgroupWrites(resources, current_cpu_max));
  if (resources.memory) TRY(CheckMemoryUsage(cgroup, *resources.memory));
  const auto set = [&](const CgroupWrite& write) -> Status {
    TRY_CTX(changes.Write(cgroup.fd(), write.file, write.value), "cgroup '{}': set '{}' to '{}'",
            cgroup.directory(), write.file, write.value);
    return {};
  };
  Writes deferred;
  for (const CgroupWrite& write : plan) {
    Status written = set(write);
    if (written || (write.optional && written.error().sys_errno() == ENOENT)) continue;
    if (!write.deferrable || written.error().sys_errno() != EINVAL) return written;
    deferred.push_back(write);
  }
  for (const CgroupWrite& write : deferred) TRY(set(write));
  return {};
}

Error KilledForMemory(const std::string& memory_max) {
  constexpr std::string_view kKilled =
      "the container's first process was killed for lack of memory before its start";
  if (memory_max == "max")
    return MakeError(Code::kResourceExhausted, "the guest has no memory left: {}", kKilled);
  return MakeError(Code::kInvalidArgument, "linux.resources.memory.limit: {} bytes are too few: {}",
                   memory_max, kKilled);
}

}  // namespace kata::jail
