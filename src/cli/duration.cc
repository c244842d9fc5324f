#include "cli/duration.h"

#include <charconv>
#include <cstdint>
#include <utility>

namespace kata::cli {
namespace {

constexpr std::pair<std::string_view, int64_t> kUnits[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr int64_t kMaxMilliseconds = int64_t{365} * 24 * 3'600'000;

}  // namespace

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  const Error invalid =
      MakeError(Code::kInvalidArgument, "'{}' is no duration above zero such as 500ms, 5s, 1m30s", text);
  int64_t total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) return invalid;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const std::string_view unit = rest.substr(0, rest.find_first_of("0123456789"));
    rest.remove_prefix(unit.size());
    int64_t factor = 0;
    for (const auto& [name, milliseconds] : kUnits) {
      if (name == unit) factor = milliseconds;
    }
    if (factor == 0) return invalid;
    total += number * factor;
    if (total > kMaxMilliseconds) return invalid;
  }
  if (total == 0) return invalid;
  return std::chrono::milliseconds(total);
}

}  // namespace kata::cli
