#include "cli/update_flags.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/log.h"

namespace kata::cli {
namespace {

template <typename T>
Result<T> ParseNumber(const std::string& text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) {
    return MakeError(Code::kInvalidArgument, "'{}' is out of range", text);
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return MakeError(Code::kInvalidArgument, "'{}' is no whole number", text);
  }
  return number;
}

oci::MemoryResources& Memory(oci::Resources& resources) {
  return resources.memory ? *resources.memory : resources.memory.emplace();
}
oci::CpuResources& Cpu(oci::Resources& resources) {
  return resources.cpu ? *resources.cpu : resources.cpu.emplace();
}

using Setter = Status (*)(const std::string& value, oci::Resources& resources);

template <auto kMember>
Status SetBytes(const std::string& value, oci::Resources& resources) {
  Memory(resources).*kMember = TRY(ParseBytes(value));
  return {};
}
template <auto kMember>
Status SetCpuNumber(const std::string& value, oci::Resources& resources) {
  auto& member = Cpu(resources).*kMember;
  member = TRY(ParseNumber<typename std::remove_reference_t<decltype(member)>::value_type>(value));
  return {};
}
template <auto kMember>
Status SetCpuset(const std::string& value, oci::Resources& resources) {
  Cpu(resources).*kMember = value;
  return {};
}
Status SetBlkioWeight(const std::string& value, oci::Resources& resources) {
  const auto weight = TRY(ParseNumber<uint16_t>(value));
  if (weight != 0 && (weight < 10 || weight > 1000)) {
    return MakeError(Code::kInvalidArgument, "'{}' is not from 10 to 1000", value);
  }
  resources.block_io.emplace().weight = weight;
  return {};
}
Status SetPidsLimit(const std::string& value, oci::Resources& resources) {
  resources.pids_limit = TRY(ParseNumber<int64_t>(value));
  return {};
}
// As with runc, which has obsoleted them.
Status IgnoreKernelMemory(const std::string&, oci::Resources&) {
  log::Warning("limits of kernel memory are obsolete and not set");
  return {};
}
// The guest's kernel has none in control groups, and the VMM is no real-time process.
Status IgnoreRealTime(const std::string& value, oci::Resources&) {
  TRY(ParseNumber<int64_t>(value));
  log::Warning("real-time budgets have no meaning for a virtual machine and are not set");
  return {};
}
Status RefuseRdt(const std::string&, oci::Resources&) {
  return Error(Code::kInvalidArgument, "Intel RDT divides caches of the host, which a guest does not see");
}

struct Row {
  const char* name;
  const char* description;
  Setter set;
};
using oci::CpuResources;
using oci::MemoryResources;
constexpr Row kRows[] = {
    {"--blkio-weight", "weight of block I/O, 10 to 1000", SetBlkioWeight},
    {"--cpu-period", "period of the CPU quota, in microseconds", SetCpuNumber<&CpuResources::period_us>},
    {"--cpu-quota", "CPU time in a period, in microseconds; -1: unlimited",
     SetCpuNumber<&CpuResources::quota_us>},
    {"--cpu-burst", "unused CPU time that may be saved up, in microseconds",
     SetCpuNumber<&CpuResources::burst_us>},
    {"--cpu-share", "CPU weight relative to other containers", SetCpuNumber<&CpuResources::shares>},
    {"--cpu-idle", "1: only CPU time that nobody else wants", SetCpuNumber<&CpuResources::idle>},
    {"--cpu-rt-period", "not set: a virtual machine has no real-time budget", IgnoreRealTime},
    {"--cpu-rt-runtime", "not set: a virtual machine has no real-time budget", IgnoreRealTime},
    {"--cpuset-cpus", "processors of the host to use, such as 0-2,7", SetCpuset<&CpuResources::cpus>},
    {"--cpuset-mems", "memory nodes of the host to use", SetCpuset<&CpuResources::mems>},
    {"--memory", "limit of memory, in bytes or with a unit", SetBytes<&MemoryResources::limit>},
    {"--memory-reservation", "memory that is spared when the host lacks some",
     SetBytes<&MemoryResources::reservation>},
    {"--memory-swap", "limit of memory and swap together; -1: unlimited", SetBytes<&MemoryResources::swap>},
    {"--kernel-memory", "obsolete", IgnoreKernelMemory},
    {"--kernel-memory-tcp", "obsolete", IgnoreKernelMemory},
    {"--pids-limit", "limit of the number of processes", SetPidsLimit},
    {"--l3-cache-schema", "not available", RefuseRdt},
    {"--mem-bw-schema", "not available", RefuseRdt},
};

}  // namespace

Result<int64_t> ParseBytes(const std::string& text) {
  if (text == "-1") return -1;
  const Error invalid =
      MakeError(Code::kInvalidArgument, "'{}' is no number of bytes such as 67108864, 64m, 1.5GiB", text);
  // Else "inf" and "nan" would be numbers.
  if (text.empty() || text[0] < '0' || text[0] > '9') return invalid;
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return invalid;
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c) {
    if (*c != ' ' || !unit.empty()) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  }
  // "k", "kb", "kib" are the same, powers of 1024 as with Docker.
  constexpr std::string_view kPrefixes = "kmgtp";
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    const size_t power = kPrefixes.find(unit[0]);
    const std::string rest = unit.substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return invalid;
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (number * factor >= 9.2e18) return MakeError(Code::kInvalidArgument, "'{}' is out of range", text);
  return static_cast<int64_t>(number * factor);
}

UpdateFlags::UpdateFlags() {
  for (const Row& row : kRows) flags_.push_back({row.name, row.description, ""});
}

Result<oci::Resources> UpdateFlags::ToResources() const {
  oci::Resources resources;
  for (size_t i = 0; i < flags_.size(); ++i) {
    if (!flags_[i].value.empty()) TRY_CTX(kRows[i].set(flags_[i].value, resources), "{}", flags_[i].name);
  }
  return resources;
}

}  // namespace kata::cli
