// QemuControl: processors and memory of the running machine.
#include <algorithm>
#include <vector>

#include "hypervisor/qemu/control.h"

namespace kata::hypervisor::qemu {
namespace {

using nlohmann::json;

constexpr uint64_t kMib = 1u << 20;
// QEMU holds events of the same kind back for up to a second, so they are not waited for any longer.
constexpr std::chrono::milliseconds kMemoryLookTime{20};
// What there is must be told also after the deadline.
constexpr std::chrono::seconds kAnswerTime{5};
// Of the processors that were not there at the start: their objects have names.
constexpr std::string_view kPluggedPath = "/machine/peripheral/";

struct Processor {
  json properties;   // where it sits: "socket-id", "core-id" ...
  std::string type;  // driver
  std::string path;  // of its object; empty: not there
  bool plugged() const { return path.starts_with(kPluggedPath); }
  std::string plugged_id() const { return path.substr(kPluggedPath.size()); }
};

// 0 where there is none.
uint64_t NumberOf(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

// In the order of their places, so that the guest always counts them in the same way.
Result<std::vector<Processor>> ReadProcessors(const json& answer) {
  std::vector<Processor> processors;
  if (!answer.is_array()) return Error(Code::kInternal, "query-hotpluggable-cpus: the answer is no list");
  for (const json& entry : answer) {
    const auto properties = entry.find("props");
    const auto type = entry.find("type");
    if (properties == entry.end() || !properties->is_object() || type == entry.end() || !type->is_string()) {
      return Error(Code::kInternal, "query-hotpluggable-cpus: an entry without place or type");
    }
    const auto path = entry.find("qom-path");
    processors.push_back({*properties, *type, path != entry.end() && path->is_string() ? *path : json("")});
  }
  std::sort(processors.begin(), processors.end(), [](const Processor& a, const Processor& b) {
    const auto place = [](const Processor& p) {
      return std::pair(NumberOf(p.properties, "socket-id"), NumberOf(p.properties, "core-id"));
    };
    return place(a) < place(b);
  });
  return processors;
}

uint32_t CountPresent(const std::vector<Processor>& processors) {
  return static_cast<uint32_t>(std::count_if(processors.begin(), processors.end(),
                                             [](const Processor& p) { return !p.path.empty(); }));
}

}  // namespace

Result<uint32_t> QemuControl::SetVcpus(uint32_t vcpus, Deadline deadline) {
  std::lock_guard plug_lock(plug_mutex_);
  const auto list = [this] {
    return client_->Execute({.name = "query-hotpluggable-cpus"}, Deadline::After(kAnswerTime));
  };
  const json before = TRY(list());
  Status changed = ChangeVcpus(before, vcpus, deadline);
  const uint32_t now = CountPresent(TRY(ReadProcessors(TRY(list()))));
  if (changed || changed.error().code() == Code::kDeadlineExceeded) return now;
  // What has failed in the end has come further than nothing.
  if (now != CountPresent(TRY(ReadProcessors(before)))) return now;
  return std::move(changed).error();
}

Status QemuControl::ChangeVcpus(const json& list, uint32_t vcpus, Deadline deadline) {
  const std::vector<Processor> processors = TRY(ReadProcessors(list));
  uint32_t count = CountPresent(processors);
  for (size_t i = 0; i < processors.size() && count < vcpus; ++i) {
    if (!processors[i].path.empty()) continue;
    json arguments = processors[i].properties;
    arguments["driver"] = processors[i].type;
    arguments["id"] = fmt::format("vcpu{}", i);
    TRY_CTX(client_->Execute({.name = "device_add", .arguments = std::move(arguments)}, deadline),
            "plug processor {}", i);
    ++count;
  }
  for (size_t i = processors.size(); i-- > 0 && count > vcpus;) {
    if (!processors[i].plugged()) continue;
    TRY_CTX(Remove(processors[i].plugged_id(), deadline), "unplug processor {}", i);
    --count;
  }
  return {};
}

Result<uint64_t> QemuControl::ReadMemoryDevice(const char* property, Deadline deadline) {
  const json value = TRY(client_->Execute(
      {.name = "qom-get",
       .arguments = {{"path", std::string(kPluggedPath) + kPluggedMemoryDevice}, {"property", property}}},
      deadline));
  if (!value.is_number_unsigned())
    return MakeError(Code::kInternal, "memory device: {} is no number", property);
  return value.get<uint64_t>();
}

Result<uint64_t> QemuControl::SetMemory(uint64_t memory_mib, Deadline deadline) {
  std::lock_guard plug_lock(plug_mutex_);
  // QEMU answers at once, and the deadline is for the guest.
  const json summary =
      TRY(client_->Execute({.name = "query-memory-size-summary"}, Deadline::After(kAnswerTime)));
  const uint64_t base = NumberOf(summary, "base-memory");
  const uint64_t wanted_bytes = memory_mib * kMib;
  constexpr uint64_t kUnit = kMemoryUnitMib * kMib;
  const uint64_t plugged = wanted_bytes > base ? (wanted_bytes - base + kUnit - 1) / kUnit * kUnit : 0;
  TRY_CTX(client_->Execute({.name = "qom-set",
                            .arguments = {{"path", std::string(kPluggedPath) + kPluggedMemoryDevice},
                                          {"property", "requested-size"},
                                          {"value", plugged}}},
                           Deadline::After(kAnswerTime)),
          "plug memory");
  for (;;) {
    uint64_t changes = 0;
    {
      std::lock_guard lock(mutex_);
      changes = memory_changes_;
    }
    const uint64_t size = TRY(ReadMemoryDevice("size", Deadline::After(kAnswerTime)));
    if (size == plugged || deadline.Passed()) return (base + size) / kMib;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kMemoryLookTime, [&] { return memory_changes_ != changes; });
  }
}

}  // namespace kata::hypervisor::qemu
