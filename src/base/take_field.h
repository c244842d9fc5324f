// Text of fields with a separator between them, as the kernel and its configuration files write it.
#pragma once

#include <algorithm>
#include <string_view>

namespace kata {

// The front of `rest` up to `separator`, or all of it. It is cut off, together with the separator.
inline std::string_view TakeField(std::string_view& rest, char separator) {
  const std::string_view field = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(field.size() + 1, rest.size()));
  return field;
}

}  // namespace kata
