#include "agent/stats.h"

#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/parse_number.h"
#include "base/take_field.h"
#include "linux/cgroup2.h"

namespace kata::agent {
namespace {

using KeyedNumbers = std::map<std::string, uint64_t>;
using linux::CgroupDir;

uint64_t Number(const CgroupDir& cgroup, const std::string& file) {
  return cgroup.ReadNumber(file).value_or(0);
}

KeyedNumbers Keyed(const CgroupDir& cgroup, const std::string& file) {
  return cgroup.ReadKeyedNumbers(file).value_or(KeyedNumbers{});
}

uint64_t Value(const KeyedNumbers& numbers, const std::string& key) {
  const auto it = numbers.find(key);
  return it == numbers.end() ? 0 : it->second;
}

void ReadCpu(const CgroupDir& cgroup, grpc::CpuStats& stats) {
  constexpr uint64_t kNanosPerMicro = 1000;
  const KeyedNumbers cpu = Keyed(cgroup, "cpu.stat");
  grpc::CpuUsage& usage = *stats.mutable_cpu_usage();
  usage.set_total_usage(Value(cpu, "usage_usec") * kNanosPerMicro);
  usage.set_usage_in_usermode(Value(cpu, "user_usec") * kNanosPerMicro);
  usage.set_usage_in_kernelmode(Value(cpu, "system_usec") * kNanosPerMicro);
  grpc::ThrottlingData& throttling = *stats.mutable_throttling_data();
  throttling.set_periods(Value(cpu, "nr_periods"));
  throttling.set_throttled_periods(Value(cpu, "nr_throttled"));
  throttling.set_throttled_time(Value(cpu, "throttled_usec") * kNanosPerMicro);
}

void ReadMemory(const CgroupDir& cgroup, grpc::MemoryStats& stats) {
  const KeyedNumbers detail = Keyed(cgroup, "memory.stat");
  stats.set_cache(Value(detail, "file"));
  stats.set_use_hierarchy(true);  // cgroup v2 always counts what is below
  grpc::MemoryData& usage = *stats.mutable_usage();
  usage.set_usage(Number(cgroup, "memory.current"));
  usage.set_max_usage(Number(cgroup, "memory.peak"));
  usage.set_limit(Number(cgroup, "memory.max"));
  usage.set_failcnt(Value(Keyed(cgroup, "memory.events"), "max"));
  grpc::MemoryData& swap = *stats.mutable_swap_usage();
  swap.set_usage(Number(cgroup, "memory.swap.current"));
  swap.set_max_usage(Number(cgroup, "memory.swap.peak"));
  swap.set_limit(Number(cgroup, "memory.swap.max"));
  swap.set_failcnt(Value(Keyed(cgroup, "memory.swap.events"), "max"));
  stats.mutable_kernel_usage()->set_usage(Value(detail, "kernel"));
  for (const auto& [key, value] : detail) (*stats.mutable_stats())[key] = value;
}

void ReadPids(const CgroupDir& cgroup, grpc::PidsStats& stats) {
  stats.set_current(Number(cgroup, "pids.current"));
  const uint64_t limit = Number(cgroup, "pids.max");
  stats.set_limit(limit == UINT64_MAX ? 0 : limit);  // 0 is the API's "no limit"
}

// hugetlb.<size>.current and its neighbours, for each size of the kernel.
void ReadHugePages(const CgroupDir& cgroup, grpc::CgroupStats& stats) {
  constexpr std::string_view kPrefix = "hugetlb.";
  constexpr std::string_view kSuffix = ".current";
  const Result<std::vector<std::string>> files = ListDirectory(cgroup.directory());
  if (!files) return;
  for (const std::string& file : *files) {
    if (!file.starts_with(kPrefix) || !file.ends_with(kSuffix) || file.contains(".rsvd.")) continue;
    const std::string size = file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size());
    const std::string base = std::string(kPrefix) + size;
    grpc::HugetlbStats& entry = (*stats.mutable_hugetlb_stats())[size];
    entry.set_usage(Number(cgroup, file));
    entry.set_failcnt(Value(Keyed(cgroup, base + ".events"), "max"));
  }
}

struct IoKey {
  std::string_view key;
  const char* operation;
  bool bytes;
};
constexpr IoKey kIoKeys[] = {
    {"rbytes", "Read", true}, {"wbytes", "Write", true}, {"dbytes", "Discard", true},
    {"rios", "Read", false},  {"wios", "Write", false},  {"dios", "Discard", false},
};

void ParseIoLine(std::string_view line, grpc::BlkioStats& stats) {
  std::string_view device = TakeField(line, ' ');
  const std::optional<uint64_t> major_number = ParseNumber<uint64_t>(TakeField(device, ':'));
  const std::optional<uint64_t> minor_number = ParseNumber<uint64_t>(device);
  if (!major_number || !minor_number) return;
  while (!line.empty()) {
    std::string_view word = TakeField(line, ' ');
    const std::string_view key = TakeField(word, '=');
    const std::optional<uint64_t> value = ParseNumber<uint64_t>(word);
    if (!value) continue;
    for (const IoKey& known : kIoKeys) {
      if (known.key != key) continue;
      grpc::BlkioStatsEntry& entry =
          known.bytes ? *stats.add_io_service_bytes_recursive() : *stats.add_io_serviced();
      entry.set_major(*major_number);
      entry.set_minor(*minor_number);
      entry.set_op(known.operation);
      entry.set_value(*value);
    }
  }
}

void ParsePressureLine(std::string_view line, grpc::PressureData& data) {
  while (!line.empty()) {
    std::string_view word = TakeField(line, ' ');
    const std::string_view key = TakeField(word, '=');
    double percent = 0;
    const bool is_percent =
        std::from_chars(word.data(), word.data() + word.size(), percent).ec == std::errc();
    if (key == "total") data.set_total(ParseNumber<uint64_t>(word).value_or(0));
    if (!is_percent) continue;
    if (key == "avg10") data.set_avg10(percent);
    if (key == "avg60") data.set_avg60(percent);
    if (key == "avg300") data.set_avg300(percent);
  }
}

// Nothing where the kernel does not count it.
template <typename Stats>
void ReadPressure(const CgroupDir& cgroup, const char* file, Stats& stats) {
  if (const Result<std::string> text = cgroup.Read(file)) *stats.mutable_psi() = ParsePressure(*text);
}

}  // namespace

grpc::PressureStats ParsePressure(std::string_view text) {
  grpc::PressureStats stats;
  while (!text.empty()) {
    std::string_view line = TakeField(text, '\n');
    const std::string_view kind = TakeField(line, ' ');
    if (kind == "some") ParsePressureLine(line, *stats.mutable_some());
    if (kind == "full") ParsePressureLine(line, *stats.mutable_full());
  }
  return stats;
}

void ParseIoStat(std::string_view text, grpc::BlkioStats& stats) {
  while (!text.empty()) ParseIoLine(TakeField(text, '\n'), stats);
}

Result<grpc::StatsContainerResponse> ReadCgroupStats(const std::string& cgroup_directory) {
  const CgroupDir cgroup = TRY(CgroupDir::Open(cgroup_directory));
  grpc::StatsContainerResponse response;
  grpc::CgroupStats& stats = *response.mutable_cgroup_stats();
  ReadCpu(cgroup, *stats.mutable_cpu_stats());
  ReadMemory(cgroup, *stats.mutable_memory_stats());
  ReadPids(cgroup, *stats.mutable_pids_stats());
  if (const Result<std::string> io = cgroup.Read("io.stat"); io)
    ParseIoStat(*io, *stats.mutable_blkio_stats());
  ReadHugePages(cgroup, stats);
  ReadPressure(cgroup, "cpu.pressure", *stats.mutable_cpu_stats());
  ReadPressure(cgroup, "memory.pressure", *stats.mutable_memory_stats());
  ReadPressure(cgroup, "io.pressure", *stats.mutable_blkio_stats());
  return response;
}

}  // namespace kata::agent
