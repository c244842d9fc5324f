// Lists of processors and memory nodes in the format of cpuset(7): "0-3,7".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::linux {

struct CpuRange {
  uint32_t first = 0;
  uint32_t last = 0;  // not below `first`
  bool operator==(const CpuRange&) const = default;
};

// In the order of the list, at least one. kInvalidArgument for anything else.
Result<std::vector<CpuRange>> ParseCpuList(std::string_view list);

}  // namespace kata::linux
