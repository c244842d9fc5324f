#include "cli/duration.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace kata::cli {
namespace {

using std::chrono::milliseconds;

// In milliseconds.
constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1e-6}, {"us", 1e-3}, {"µs", 1e-3}, {"ms", 1},
                                                          {"s", 1e3},   {"m", 60e3},  {"h", 3600e3}};
constexpr double kMost = 365.0 * 24 * 3600e3;

// Takes one number with its unit from the front; negative: there is none.
double TakePart(std::string_view& text) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || text.front() == '-') return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
  text.remove_prefix(unit.size());
  for (const auto& [name, factor] : kUnits) {
    if (name == unit) return number * factor;
  }
  return -1;
}

}  // namespace

Result<milliseconds> ParseDuration(std::string_view text) {
  const Error invalid =
      MakeError(Code::kInvalidArgument, "'{}' is no duration above zero such as 500ms, 5s, 1m30s", text);
  double total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const double part = TakePart(rest);
    // So that also infinity and what is no number fail.
    if (!(part >= 0) || !(total + part <= kMost)) return invalid;
    total += part;
  }
  if (total == 0) return invalid;
  return std::max(milliseconds(1), milliseconds(std::llround(total)));
}

}  // namespace kata::cli
