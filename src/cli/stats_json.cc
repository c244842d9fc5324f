#include "cli/stats_json.h"

#include <cstdint>
#include <map>

namespace kata::cli {
namespace {

using Json = nlohmann::ordered_json;

// runc leaves out what is zero, but for the members that it always shows.
void AddUnlessZero(Json& json, const char* name, uint64_t value) {
  if (value != 0) json[name] = value;
}

template <typename Stats>
void AddPressure(Json& json, const Stats& stats) {
  if (!stats.has_psi()) return;
  const auto data = [](const grpc::PressureData& values) -> Json {
    return {{"avg10", values.avg10()},
            {"avg60", values.avg60()},
            {"avg300", values.avg300()},
            {"total", values.total()}};
  };
  json["psi"] = {{"some", data(stats.psi().some())}, {"full", data(stats.psi().full())}};
}

Json Cpu(const grpc::CpuStats& cpu) {
  Json usage = Json::object();
  AddUnlessZero(usage, "total", cpu.cpu_usage().total_usage());
  if (cpu.cpu_usage().percpu_usage_size() != 0) {
    usage["percpu"] =
        std::vector<uint64_t>(cpu.cpu_usage().percpu_usage().begin(), cpu.cpu_usage().percpu_usage().end());
  }
  usage["kernel"] = cpu.cpu_usage().usage_in_kernelmode();
  usage["user"] = cpu.cpu_usage().usage_in_usermode();
  Json throttling = Json::object();
  AddUnlessZero(throttling, "periods", cpu.throttling_data().periods());
  AddUnlessZero(throttling, "throttledPeriods", cpu.throttling_data().throttled_periods());
  AddUnlessZero(throttling, "throttledTime", cpu.throttling_data().throttled_time());
  Json json = {{"usage", std::move(usage)}, {"throttling", std::move(throttling)}};
  AddPressure(json, cpu);
  return json;
}

Json MemoryEntry(const grpc::MemoryData& data) {
  Json entry = {{"limit", data.limit()}};
  AddUnlessZero(entry, "usage", data.usage());
  AddUnlessZero(entry, "max", data.max_usage());
  entry["failcnt"] = data.failcnt();
  return entry;
}

// As in version 1 of control groups, memory and swap together; the guest says it as in version 2.
grpc::MemoryData MemoryAndSwap(const grpc::MemoryData& memory, grpc::MemoryData swap) {
  const auto sum = [](uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; };
  swap.set_usage(sum(swap.usage(), memory.usage()));
  swap.set_limit(sum(swap.limit(), memory.limit()));
  swap.clear_max_usage();  // the peaks need not have been at one time
  return swap;
}

Json Memory(const grpc::MemoryStats& memory) {
  Json json = Json::object();
  AddUnlessZero(json, "cache", memory.cache());
  json["usage"] = MemoryEntry(memory.usage());
  json["swap"] = MemoryEntry(MemoryAndSwap(memory.usage(), memory.swap_usage()));
  json["kernel"] = MemoryEntry(memory.kernel_usage());
  json["kernelTCP"] = MemoryEntry({});
  if (!memory.stats().empty()) {
    json["raw"] = std::map<std::string, uint64_t>(memory.stats().begin(), memory.stats().end());
  }
  AddPressure(json, memory);
  return json;
}

template <typename Entries>
void AddBlockIo(Json& json, const char* name, const Entries& entries) {
  if (entries.empty()) return;
  Json list = Json::array();
  for (const grpc::BlkioStatsEntry& entry : entries) {
    Json item = Json::object();
    AddUnlessZero(item, "major", entry.major());
    AddUnlessZero(item, "minor", entry.minor());
    if (!entry.op().empty()) item["op"] = entry.op();
    AddUnlessZero(item, "value", entry.value());
    list.push_back(std::move(item));
  }
  json[name] = std::move(list);
}

Json BlockIo(const grpc::BlkioStats& io) {
  Json json = Json::object();
  AddBlockIo(json, "ioServiceBytesRecursive", io.io_service_bytes_recursive());
  AddBlockIo(json, "ioServicedRecursive", io.io_serviced());
  AddBlockIo(json, "ioQueueRecursive", io.io_queued());
  AddBlockIo(json, "ioServiceTimeRecursive", io.io_service_time());
  AddBlockIo(json, "ioWaitTimeRecursive", io.io_wait_time());
  AddBlockIo(json, "ioMergedRecursive", io.io_merged());
  AddBlockIo(json, "ioTimeRecursive", io.io_time());
  AddBlockIo(json, "sectorsRecursive", io.sectors());
  AddPressure(json, io);
  return json;
}

Json HugePages(const google::protobuf::Map<std::string, grpc::HugetlbStats>& sizes) {
  Json json = Json::object();
  for (const auto& [size, stats] : std::map(sizes.begin(), sizes.end())) {
    Json entry = Json::object();
    AddUnlessZero(entry, "usage", stats.usage());
    AddUnlessZero(entry, "max", stats.max_usage());
    entry["failcnt"] = stats.failcnt();
    json[size] = std::move(entry);
  }
  return json;
}

Json Interfaces(const google::protobuf::RepeatedPtrField<grpc::NetworkStats>& interfaces) {
  if (interfaces.empty()) return nullptr;
  Json list = Json::array();
  for (const grpc::NetworkStats& stats : interfaces) {
    list.push_back({{"Name", stats.name()},
                    {"RxBytes", stats.rx_bytes()},
                    {"RxPackets", stats.rx_packets()},
                    {"RxErrors", stats.rx_errors()},
                    {"RxDropped", stats.rx_dropped()},
                    {"TxBytes", stats.tx_bytes()},
                    {"TxPackets", stats.tx_packets()},
                    {"TxErrors", stats.tx_errors()},
                    {"TxDropped", stats.tx_dropped()}});
  }
  return list;
}

}  // namespace

nlohmann::ordered_json StatsEvent(const std::string& id, const grpc::StatsContainerResponse& stats) {
  const grpc::CgroupStats& cgroup = stats.cgroup_stats();
  Json pids = Json::object();
  AddUnlessZero(pids, "current", cgroup.pids_stats().current());
  AddUnlessZero(pids, "limit", cgroup.pids_stats().limit());
  return {{"type", "stats"},
          {"id", id},
          {"data",
           {{"cpu", Cpu(cgroup.cpu_stats())},
            {"memory", Memory(cgroup.memory_stats())},
            {"pids", std::move(pids)},
            {"blkio", BlockIo(cgroup.blkio_stats())},
            {"hugetlb", HugePages(cgroup.hugetlb_stats())},
            {"intel_rdt", Json::object()},
            {"network_interfaces", Interfaces(stats.network_stats())}}}};
}

nlohmann::ordered_json OomEvent(const std::string& id) {
  return {{"type", "oom"}, {"id", id}};
}

}  // namespace kata::cli
