#include "linux/cpu_list.h"

#include <charconv>
#include <string_view>

namespace kata::linux {
namespace {

bool ParseCpu(std::string_view text, int& cpu) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  return error == std::errc() && end == text.data() + text.size() && cpu >= 0 && cpu < CPU_SETSIZE;
}

}  // namespace

Result<cpu_set_t> ParseCpuList(const std::string& list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string_view rest = list;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view range = rest.substr(0, comma);
    const size_t dash = range.find('-');
    int first = 0;
    int last = 0;
    const bool valid =
        ParseCpu(range.substr(0, dash), first) &&
        (dash == std::string_view::npos ? (last = first, true) : ParseCpu(range.substr(dash + 1), last));
    if (!valid || first > last) return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
    for (int cpu = first; cpu <= last; ++cpu) CPU_SET(cpu, &set);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  if (CPU_COUNT(&set) == 0) return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
  return set;
}

}  // namespace kata::linux
