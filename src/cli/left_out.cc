#include "cli/left_out.h"

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "linux/capabilities.h"

namespace kata::cli {
namespace {

using CapabilityNames = std::vector<std::string>;
constexpr std::pair<std::string_view, CapabilityNames oci::Capabilities::*> kCapabilitySets[] = {
    {"bounding", &oci::Capabilities::bounding},       {"effective", &oci::Capabilities::effective},
    {"inheritable", &oci::Capabilities::inheritable}, {"permitted", &oci::Capabilities::permitted},
    {"ambient", &oci::Capabilities::ambient},
};

bool IsSet(const oci::NetworkResources& network) {
  return network.class_id.value_or(0) != 0 || !network.priorities.empty();
}

bool IsRealTime(const oci::CpuResources& cpu) {
  return cpu.realtime_runtime_us.value_or(0) != 0 || cpu.realtime_period_us.value_or(0) != 0;
}

}  // namespace

void WarnOfUnknownCapabilities(const oci::Process& process) {
  if (!process.capabilities) return;
  std::set<std::string_view> told;
  for (const auto& [set, names] : kCapabilitySets) {
    const CapabilityNames& list = (*process.capabilities).*names;
    for (size_t i = 0; i < list.size(); ++i) {
      if (linux::CapabilityNumber(list[i]) || !told.insert(list[i]).second) continue;
      log::Warning("an unknown capability is left out",
                   {{"field", fmt::format("process.capabilities.{}[{}]", set, i)}, {"capability", list[i]}});
    }
  }
}

void WarnOfWhatIsLeftOut(const oci::Spec& spec) {
  if (spec.process) WarnOfUnknownCapabilities(*spec.process);
  if (!spec.linux || !spec.linux->resources) return;
  const oci::Resources& resources = *spec.linux->resources;
  // Marks of packets end with the socket that sends them, which is the guest's.
  if (resources.network && IsSet(*resources.network)) {
    log::Warning("classes and priorities of network traffic are not set",
                 {{"field", "linux.resources.network"}});
  }
  if (resources.cpu && IsRealTime(*resources.cpu)) {
    log::Warning("real-time budgets have no meaning for a virtual machine and are not set",
                 {{"field", "linux.resources.cpu"}});
  }
}

}  // namespace kata::cli
