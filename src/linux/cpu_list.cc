#include "linux/cpu_list.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "base/take_field.h"

namespace kata::linux {
namespace {

// `used` of each `group` processors from `first` to `last`.
struct Range {
  size_t first, last;
  size_t used = 1, group = 1;
};

// Takes the number at the beginning of `text` off.
std::optional<size_t> TakeNumber(std::string_view& text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

bool TakeSign(std::string_view& text, char sign) {
  if (!text.starts_with(sign)) return false;
  text.remove_prefix(1);
  return true;
}

// "7", "0-3", "0-31:2/8".
std::optional<Range> ParseRange(std::string_view text) {
  const std::optional<size_t> first = TakeNumber(text);
  if (!first) return std::nullopt;
  Range range{*first, *first};
  if (TakeSign(text, '-')) {
    const std::optional<size_t> last = TakeNumber(text);
    if (!last) return std::nullopt;
    range.last = *last;
    if (TakeSign(text, ':')) {
      const std::optional<size_t> used = TakeNumber(text);
      if (!used || !TakeSign(text, '/')) return std::nullopt;
      const std::optional<size_t> group = TakeNumber(text);
      if (!group) return std::nullopt;
      range.used = *used;
      range.group = *group;
    }
  }
  const bool valid = text.empty() && range.first <= range.last && range.last < CpuSet().size() &&
                     range.used <= range.group && range.group > 0;
  return valid ? std::optional(range) : std::nullopt;
}

}  // namespace

Result<CpuSet> ParseCpuList(const std::string& list) {
  CpuSet set;
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::optional<Range> range = ParseRange(TakeField(rest, ','));
    if (!range) return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
    for (size_t cpu = range->first; cpu <= range->last; ++cpu) {
      if ((cpu - range->first) % range->group < range->used) set.set(cpu);
    }
  }
  if (set.none()) return MakeError(Code::kInvalidArgument, "invalid CPU list '{}'", list);
  return set;
}

}  // namespace kata::linux
