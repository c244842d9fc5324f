// Whole numbers in text.
#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>

namespace kata {

// nullopt unless all of `text` is one number that `T` can hold: no sign but '-', no blanks, no prefix.
template <std::integral T>
std::optional<T> ParseNumber(std::string_view text, int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

}  // namespace kata
