// The linux.resources section.
#include <cstdint>

#include "oci/validation.h"

namespace kata::oci {
namespace {

constexpr std::string_view kRuleTypes[] = {"", "a", "b", "c"};

Status CheckDeviceRule(JsonPath& path, const DeviceRule& rule) {
  if (std::ranges::find(kRuleTypes, rule.type) == std::end(kRuleTypes)) {
    return Invalid(path, "type", "expected a, b or c, found {}", Quote(rule.type));
  }
  // -1 is another way to say "all".
  TRY(CheckRange(path, "major", rule.major, -1, UINT32_MAX));
  TRY(CheckRange(path, "minor", rule.minor, -1, UINT32_MAX));
  if (rule.access.find_first_not_of("rwm") != std::string::npos) {
    return Invalid(path, "access", "expected letters of rwm, found {}", Quote(rule.access));
  }
  return {};
}

Status CheckMemory(JsonPath& path, const MemoryResources& memory) {
  TRY(CheckRange(path, "limit", memory.limit, -1, INT64_MAX));
  TRY(CheckRange(path, "reservation", memory.reservation, -1, INT64_MAX));
  TRY(CheckRange(path, "swap", memory.swap, -1, INT64_MAX));
  TRY(CheckRange(path, "kernel", memory.kernel, -1, INT64_MAX));
  TRY(CheckRange(path, "kernelTCP", memory.kernel_tcp, -1, INT64_MAX));
  TRY(CheckRange(path, "swappiness", memory.swappiness, 0, 100));
  if (memory.limit && memory.swap && *memory.limit > 0 && *memory.swap > 0 && *memory.swap < *memory.limit) {
    return Invalid(path, "swap", "{} is memory and swap together and below the limit {}", *memory.swap,
                   *memory.limit);
  }
  return {};
}

Status CheckCpu(JsonPath& path, const CpuResources& cpu) {
  TRY(CheckRange(path, "idle", cpu.idle, 0, 1));
  TRY(CheckCpuList(path, "cpus", cpu.cpus));
  return CheckCpuList(path, "mems", cpu.mems);
}

// Of cgroup version 1; 0: not set.
Status CheckIoWeight(JsonPath& path, std::string_view member, const std::optional<uint16_t>& weight) {
  if (weight == 0) return {};
  return CheckRange(path, member, weight, 10, 1000);
}

Status CheckBlockIo(JsonPath& path, const BlockIoResources& io) {
  TRY(CheckIoWeight(path, "weight", io.weight));
  TRY(CheckIoWeight(path, "leafWeight", io.leaf_weight));
  return CheckEach(path, "weightDevice", io.weight_device, [&](const WeightDevice& device) -> Status {
    TRY(CheckIoWeight(path, "weight", device.weight));
    return CheckIoWeight(path, "leafWeight", device.leaf_weight);
  });
}

// "2MB": digits, not starting with 0, and a unit. It becomes part of a file's name.
bool IsPageSize(std::string_view size) {
  if (size.size() < 3 || size.size() > 10 || size.back() != 'B') return false;
  const std::string_view number = size.substr(0, size.size() - 2);
  const char unit = size[size.size() - 2];
  return (unit == 'K' || unit == 'M' || unit == 'G') && number.front() != '0' &&
         number.find_first_not_of("0123456789") == std::string_view::npos;
}

Status CheckHugepageLimit(JsonPath& path, const HugepageLimit& limit) {
  if (IsPageSize(limit.page_size)) return {};
  return Invalid(path, "pageSize", "expected a size such as 2MB, found {}", Quote(limit.page_size));
}

// Keys are names of files in the cgroup's directory.
Status CheckUnifiedName(const JsonPath& path, const std::string& name) {
  if (!name.empty() && name.find('/') == std::string::npos && name != "." && name != "..") return {};
  return path.MakeError("no name of a cgroup file");
}

// Keys become words of a line.
Status CheckRdmaName(const JsonPath& path, const std::string& name) {
  if (!name.empty() && name.find_first_of(" \t\n=") == std::string::npos) return {};
  return path.MakeError("no name of an RDMA device");
}

}  // namespace

Status CheckResources(JsonPath& path, const Resources& resources) {
  TRY(CheckEach(path, "devices", resources.devices,
                [&](const DeviceRule& rule) { return CheckDeviceRule(path, rule); }));
  if (resources.memory) {
    const ScopedStep step(path, "memory");
    TRY(CheckMemory(path, *resources.memory));
  }
  if (resources.cpu) {
    const ScopedStep step(path, "cpu");
    TRY(CheckCpu(path, *resources.cpu));
  }
  if (resources.block_io) {
    const ScopedStep step(path, "blockIO");
    TRY(CheckBlockIo(path, *resources.block_io));
  }
  TRY(CheckEach(path, "hugepageLimits", resources.hugepage_limits,
                [&](const HugepageLimit& limit) { return CheckHugepageLimit(path, limit); }));
  TRY(CheckEach(path, "rdma", resources.rdma,
                [&](const std::string& name, const RdmaLimit&) { return CheckRdmaName(path, name); }));
  return CheckEach(path, "unified", resources.unified,
                   [&](const std::string& name, const std::string&) { return CheckUnifiedName(path, name); });
}

}  // namespace kata::oci
