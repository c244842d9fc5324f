// A container as `state` and `list` show it: runc's members in runc's order.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "cli/container.h"

namespace kata::cli {

struct ContainerView {
  std::string status;
  pid_t pid = 0;  // 0: stopped
  sandbox::ContainerState state;
};

Result<ContainerView> ViewContainer(Container& container);

nlohmann::ordered_json ToJson(const ContainerView& view);
// The same as text; what is not UTF-8 (a path may hold any byte) becomes U+FFFD. indent < 0: on one line.
std::string DumpJson(const nlohmann::ordered_json& json, int indent);

}  // namespace kata::cli
