#include "oci/json_path.h"

#include <algorithm>

#include "oci/quote.h"

namespace kata::oci {
namespace {

// A name as the specification makes them, as opposed to a key that a user chose.
bool IsPlainName(std::string_view name) {
  constexpr size_t kMaxBytes = 32;
  return !name.empty() && name.size() <= kMaxBytes && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

std::string JsonPath::ToString() const {
  std::string out;
  for (const Step& step : steps_) {
    if (const size_t* index = std::get_if<size_t>(&step)) {
      out += fmt::format("[{}]", *index);
    } else if (const auto name = std::get<std::string_view>(step); !IsPlainName(name)) {
      out += fmt::format("[{}]", Quote(name, '"'));
    } else {
      if (!out.empty()) out += '.';
      out += name;
    }
  }
  return out;
}

Error JsonPath::MakeError(std::string_view what) const {
  const std::string path = ToString();
  return Error(Code::kInvalidArgument, path.empty() ? std::string(what) : fmt::format("{}: {}", path, what));
}

}  // namespace kata::oci
