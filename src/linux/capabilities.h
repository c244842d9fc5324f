// Capabilities (capabilities(7)): names, and the five sets that a thread has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::linux {

using CapabilitySet = uint64_t;  // bit n: capability n

constexpr CapabilitySet CapabilityBit(int capability) {
  return CapabilitySet{1} << capability;
}

// "CAP_NET_RAW" -> 13; nullopt for a name not known to this build.
std::optional<int> CapabilityNumber(std::string_view name);
// 13 -> "CAP_NET_RAW"; empty for a number not known to this build.
std::string_view CapabilityName(int capability);
// All that the running kernel knows.
CapabilitySet KernelCapabilities();

struct CapabilitySets {
  CapabilitySet bounding = 0;
  CapabilitySet effective = 0;
  CapabilitySet inheritable = 0;
  CapabilitySet permitted = 0;
  CapabilitySet ambient = 0;
  bool operator==(const CapabilitySets&) const = default;
};

// Drops from the bounding set what `keep` lacks (needs CAP_SETPCAP).
Status LimitBoundingSet(CapabilitySet keep);
// capset(2). Sets of the calling thread only.
Status SetCapabilities(CapabilitySet effective, CapabilitySet permitted, CapabilitySet inheritable);
// Makes the ambient set exactly `ambient`; each must be permitted and inheritable.
Status SetAmbientSet(CapabilitySet ambient);
// PR_SET_KEEPCAPS: the permitted set survives the change of user id until the next execve.
Status SetKeepCapabilities(bool keep);

}  // namespace kata::linux
