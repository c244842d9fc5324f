#include "cgroup/systemd_property.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace kata::cgroup {
namespace {

constexpr size_t kMaxElements = 1000;

// The type that a word in front of a value gives it, and the range of numbers of this type.
struct Type {
  std::string_view keyword;
  char code;
  int64_t least = 0;
  uint64_t most = 0;  // 0: no whole number
};
constexpr Type kTypes[] = {
    {"boolean", 'b'},
    {"byte", 'y', 0, UINT8_MAX},
    {"int16", 'n', INT16_MIN, INT16_MAX},
    {"uint16", 'q', 0, UINT16_MAX},
    {"int32", 'i', INT32_MIN, INT32_MAX},
    {"uint32", 'u', 0, UINT32_MAX},
    {"int64", 'x', INT64_MIN, INT64_MAX},
    {"uint64", 't', 0, UINT64_MAX},
    {"double", 'd'},
    {"string", 's'},
    {"objectpath", 'o'},
    {"signature", 'g'},
};
constexpr char kUnknown = 0;

struct Scalar {
  char type;
  std::string word;
};

// Reads one value from the front of a text.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  // Signature and words; nothing when the text is no such value.
  std::optional<std::vector<std::string>> Value() {
    SkipSpace();
    char type = kUnknown;
    bool list = false;
    if (Take("@")) {
      list = Take("a");
      if (rest_.empty()) return std::nullopt;
      type = rest_[0];
      rest_.remove_prefix(1);
      SkipSpace();
    }
    std::optional<std::vector<std::string>> value = list || rest_.starts_with('[') ? List(type) : One(type);
    SkipSpace();
    return rest_.empty() ? value : std::nullopt;
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_[0])) != 0) rest_.remove_prefix(1);
  }
  bool Take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  std::optional<std::vector<std::string>> One(char type) {
    std::optional<Scalar> scalar = ReadScalar(type);
    if (!scalar) return std::nullopt;
    return std::vector<std::string>{std::string(1, scalar->type), std::move(scalar->word)};
  }

  // The first element gives the others their type.
  std::optional<std::vector<std::string>> List(char type) {
    std::vector<std::string> words;
    if (!Take("[")) return std::nullopt;
    for (SkipSpace(); !Take("]"); SkipSpace()) {
      if (!words.empty() && !Take(",")) return std::nullopt;
      SkipSpace();
      std::optional<Scalar> element = ReadScalar(type);
      if (!element || words.size() == kMaxElements) return std::nullopt;
      type = element->type;
      words.push_back(std::move(element->word));
    }
    if (type == kUnknown) return std::nullopt;
    std::vector<std::string> value{std::string("a") + type, std::to_string(words.size())};
    value.insert(value.end(), std::make_move_iterator(words.begin()), std::make_move_iterator(words.end()));
    return value;
  }

  std::optional<Scalar> ReadScalar(char type) {
    if (type == kUnknown) {
      for (const Type& known : kTypes) {
        const size_t size = known.keyword.size();
        if (!rest_.starts_with(known.keyword) || rest_.substr(size, 1) != " ") continue;
        rest_.remove_prefix(size);
        SkipSpace();
        type = known.code;
        break;
      }
    }
    if (rest_.starts_with('\'') || rest_.starts_with('"')) return ReadString(type);
    const std::string_view word = rest_.substr(0, rest_.find_first_of(" ,]\t\n"));
    rest_.remove_prefix(word.size());
    if (word == "true" || word == "false") {
      if (type != kUnknown && type != 'b') return std::nullopt;
      return Scalar{'b', std::string(word)};
    }
    return ReadNumber(type, word);
  }

  std::optional<Scalar> ReadString(char type) {
    if (type == kUnknown) type = 's';
    if (type != 's' && type != 'o' && type != 'g') return std::nullopt;
    const char quote = rest_[0];
    std::string text;
    for (size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == quote) {
        rest_.remove_prefix(i + 1);
        return Scalar{type, std::move(text)};
      }
      if (rest_[i] == '\\') ++i;
      if (i == rest_.size()) break;
      text += rest_[i];
    }
    return std::nullopt;
  }

  static std::optional<Scalar> ReadNumber(char type, std::string_view word) {
    const char* const end = word.data() + word.size();
    const bool fraction = word.find_first_of(".eE") != std::string_view::npos;
    if (type == kUnknown) type = fraction ? 'd' : 'i';
    if (type == 'd') {
      double number = 0;
      const auto [parsed, error] = std::from_chars(word.data(), end, number);
      if (error != std::errc() || parsed != end) return std::nullopt;
      return Scalar{type, std::string(word)};
    }
    const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [type](const Type& entry) { return entry.code == type; });
    if (known == std::end(kTypes) || known->most == 0) return std::nullopt;
    uint64_t magnitude = 0;
    const bool negative = word.starts_with('-');
    const auto [parsed, error] = std::from_chars(word.data() + (negative ? 1 : 0), end, magnitude);
    if (error != std::errc() || parsed != end) return std::nullopt;
    const uint64_t limit = negative ? 0 - static_cast<uint64_t>(known->least) : known->most;
    if (magnitude > limit) return std::nullopt;
    return Scalar{type, std::string(word)};
  }

  std::string_view rest_;
};

bool IsPropertyName(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  return name.size() >= 3 && std::all_of(name.begin(), name.end(), is_letter);
}

// "TimeoutStopSec"; not "TimeoutStopUSec".
bool IsInSeconds(std::string_view name) {
  constexpr std::string_view kSeconds = "Sec";
  return name.size() > kSeconds.size() && name.ends_with(kSeconds) &&
         std::islower(static_cast<unsigned char>(name[name.size() - kSeconds.size() - 1])) != 0;
}

std::optional<std::string> ToMicroseconds(const std::vector<std::string>& seconds) {
  constexpr std::string_view kNumbers = "ynqiuxtd";
  if (seconds.size() != 2 || !kNumbers.contains(seconds.front())) return std::nullopt;
  constexpr double kMicroseconds = 1e6;
  double number = 0;
  const std::string& word = seconds.back();
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  number *= kMicroseconds;
  // Up to here every whole number is a double.
  if (!(number >= 0 && number <= 9007199254740992.0)) return std::nullopt;
  return std::to_string(static_cast<uint64_t>(number));
}

}  // namespace

Result<std::vector<SystemdProperty>> ReadSystemdProperties(const oci::StringMap& annotations) {
  std::vector<SystemdProperty> properties;
  for (const auto& [key, text] : annotations) {
    if (!key.starts_with(kSystemdPropertyPrefix)) continue;
    SystemdProperty property{.name = key.substr(kSystemdPropertyPrefix.size()), .value = {}};
    if (!IsPropertyName(property.name)) {
      return MakeError(Code::kInvalidArgument, "annotations: '{}' names no property of systemd", key);
    }
    std::optional<std::vector<std::string>> value = Parser(text).Value();
    if (value && IsInSeconds(property.name)) {
      property.name.replace(property.name.size() - 3, 3, "USec");
      const std::optional<std::string> microseconds = ToMicroseconds(*value);
      value = microseconds ? std::optional(std::vector<std::string>{"t", *microseconds}) : std::nullopt;
    }
    if (!value) {
      return MakeError(Code::kInvalidArgument, "annotations: '{}' is '{}', no value that systemd takes", key,
                       text);
    }
    property.value = std::move(*value);
    properties.push_back(std::move(property));
  }
  return properties;
}

}  // namespace kata::cgroup
