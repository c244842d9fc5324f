#include "protocol/ready_line.h"

#include <algorithm>

#include "base/take_field.h"

namespace kata::protocol {

bool IsReadyLine(std::string_view line) {
  return line.starts_with("READY=") && line.size() <= kMaxReadyLineBytes &&
         std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::optional<std::string_view> FindReadyLine(std::string_view message) {
  while (!message.empty()) {
    const std::string_view line = TakeField(message, '\n');
    if (IsReadyLine(line)) return line;
  }
  return std::nullopt;
}

}  // namespace kata::protocol
