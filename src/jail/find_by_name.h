// Tables from the words of a specification to the kernel's numbers.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace kata::jail {

// kInvalidArgument: "unknown <what> '<name>'".
template <typename T, size_t N>
Result<T> FindByName(const std::pair<std::string_view, T> (&table)[N], const std::string& name,
                     std::string_view what) {
  for (const auto& [known, value] : table) {
    if (known == name) return value;
  }
  return MakeError(Code::kInvalidArgument, "unknown {} '{}'", what, name);
}

}  // namespace kata::jail
