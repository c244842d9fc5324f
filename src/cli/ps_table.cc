#include "cli/ps_table.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/take_field.h"

namespace kata::cli {

Result<std::string> SelectProcesses(std::string_view ps_output, const std::vector<pid_t>& pids) {
  const std::string_view title = TakeField(ps_output, '\n');
  const std::vector<std::string_view> columns = SplitWords(title, " ");
  const auto column = std::ranges::find(columns, "PID");
  if (column == columns.end()) {
    return Error(Code::kInvalidArgument, "what ps was asked for has no column PID");
  }
  const auto index = static_cast<size_t>(column - columns.begin());
  std::string text = std::string(title) + "\n";
  while (!ps_output.empty()) {
    const std::string_view line = TakeField(ps_output, '\n');
    const std::vector<std::string_view> words = SplitWords(line, " ");
    pid_t pid = 0;
    if (index >= words.size()) continue;
    std::from_chars(words[index].data(), words[index].data() + words[index].size(), pid);
    if (std::ranges::find(pids, pid) != pids.end()) text += std::string(line) + "\n";
  }
  return text;
}

}  // namespace kata::cli
