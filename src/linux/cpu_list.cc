#include "linux/cpu_list.h"

#include <charconv>
#include <optional>

namespace kata::linux {
namespace {

std::optional<uint32_t> ParseNumber(std::string_view text) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<CpuRange> ParseRange(std::string_view text) {
  const size_t dash = text.find('-');
  const std::optional<uint32_t> first = ParseNumber(text.substr(0, dash));
  const std::optional<uint32_t> last =
      dash == std::string_view::npos ? first : ParseNumber(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return CpuRange{*first, *last};
}

}  // namespace

Result<std::vector<CpuRange>> ParseCpuList(std::string_view list) {
  std::vector<CpuRange> ranges;
  while (true) {
    const size_t comma = list.find(',');
    const std::optional<CpuRange> range = ParseRange(list.substr(0, comma));
    if (!range) return Error(Code::kInvalidArgument, "expected a list such as 0-3,7");
    ranges.push_back(*range);
    if (comma == std::string_view::npos) return ranges;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace kata::linux
