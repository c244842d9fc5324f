// Properties for a container's scope that engines give in annotations: org.systemd.property.TimeoutStopUSec =
// "uint64 5000000".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::cgroup {

// Of the annotations that are read.
inline constexpr std::string_view kSystemdPropertyPrefix = "org.systemd.property.";

struct SystemdProperty {
  std::string name;
  // As busctl(1) takes it: its signature, then the words of the value.
  std::vector<std::string> value;
  bool operator==(const SystemdProperty&) const = default;
};

// Values are in the text form of GVariant, of which systemd's properties need numbers, booleans, strings and
// lists of these. A number of seconds, whose name ends in "Sec", becomes one of microseconds, as these are
// what systemd has on D-Bus. kInvalidArgument names the annotation.
Result<std::vector<SystemdProperty>> ReadSystemdProperties(const oci::StringMap& annotations);

}  // namespace kata::cgroup
