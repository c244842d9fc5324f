// Files of control groups that have a line "key number" for each figure.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

#include "base/take_field.h"

namespace kata::cgroup {

// The number behind `key` in lines of "key number"; 0 without one.
inline uint64_t FindNumber(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = TakeField(text, '\n');
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') continue;
    line.remove_prefix(key.size() + 1);
    uint64_t number = 0;
    std::from_chars(line.data(), line.data() + line.size(), number);
    return number;
  }
  return 0;
}

}  // namespace kata::cgroup
