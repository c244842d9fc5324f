#include "linux/cpu_list.h"

#include <optional>
#include <string_view>

#include "base/parse_number.h"
#include "base/take_field.h"

namespace kata::linux {
namespace {

std::optional<int> ParseCpu(std::string_view text) {
  const std::optional<int> cpu = ParseNumber<int>(text);
  return cpu && *cpu >= 0 && *cpu < CPU_SETSIZE ? cpu : std::nullopt;
}

}  // namespace

Result<cpu_set_t> ParseCpuList(const std::string& list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::string_view range = TakeField(rest, ',');
    const size_t dash = range.find('-');
    const std::optional<int> first = ParseCpu(range.substr(0, dash));
    const std::optional<int> last = dash == std::string_view::npos ? first : ParseCpu(range.substr(dash + 1));
    if (!first || !last || *first > *last) {
      return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
    }
    for (int cpu = *first; cpu <= *last; ++cpu) CPU_SET(cpu, &set);
  }
  if (CPU_COUNT(&set) == 0) return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
  return set;
}

}  // namespace kata::linux
