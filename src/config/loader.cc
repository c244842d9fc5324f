// TOML to values, by the table of options. The only file that includes the TOML library.
#include "config/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <stdexcept>

// Some malformed headers ("[=") meet nothing in the library but an assertion, which a release build would
// turn into an assumption of the compiler. Here it is an exception in all builds.
#undef NDEBUG
static constexpr void AssertToml(bool holds, const char* condition) {
  if (!holds) throw std::logic_error(condition);
}
#define TOML_ASSERT(condition) AssertToml(static_cast<bool>(condition), #condition)
#include <toml++/toml.h>

namespace kata::config {
namespace {

// TOML 1.0 has no place for a NUL byte, and for other than ASCII only in strings and comments. The library
// has undefined behaviour for some of what stands elsewhere.
Status CheckCharacters(std::string_view text, const std::string& file) {
  size_t line = 1;
  bool comment = false;
  std::string_view quote;  // that ends the string; empty outside of strings
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool one_line = comment || quote.size() == 1;
    if (c == '\0' || (static_cast<unsigned char>(c) >= 0x80 && !comment && quote.empty())) {
      return MakeError(Code::kInvalidArgument, "{}:{}: byte {:#04x} outside of strings and comments", file,
                       line, static_cast<unsigned char>(c));
    }
    if (c == '\n') {
      ++line;
      if (one_line) {
        comment = false;
        quote = {};
      }
    } else if (comment) {
      continue;
    } else if (quote.empty()) {
      comment = c == '#';
      if (c == '"' || c == '\'') {
        const bool triple = text.substr(i, 3) == std::string(3, c);
        quote = text.substr(i, triple ? 3 : 1);
        i += quote.size() - 1;
      }
    } else if (c == '\\' && quote[0] == '"') {
      // The next character is no end of the string; a line end is counted all the same.
      if (i + 1 < text.size() && text[i + 1] != '\n' && text[i + 1] != '\0') ++i;
    } else if (text.substr(i, quote.size()) == quote) {
      i += quote.size() - 1;
      quote = {};
    }
  }
  return {};
}

Result<toml::table> ParseToml(std::string_view text, const std::string& file) {
  TRY(CheckCharacters(text, file));
  try {
    toml::parse_result parsed = toml::parse(text, file);
    if (parsed) return std::move(parsed).table();
    const toml::parse_error& error = parsed.error();
    return MakeError(Code::kInvalidArgument, "{}:{}: {}", file, error.source().begin.line,
                     error.description());
  } catch (const std::logic_error&) {
    return MakeError(Code::kInvalidArgument, "{}: a malformed table header or key", file);
  }
}

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

Error Expected(std::string_view expected, const toml::node& node) {
  return MakeError(Code::kInvalidArgument, "expected {}, found {}", expected, TypeName(node));
}

Result<std::string> ReadString(const toml::node& node) {
  const toml::value<std::string>* text = node.as_string();
  if (text == nullptr) return Expected("a string", node);
  // Paths and arguments end at a NUL byte wherever they go.
  if (text->get().contains('\0')) return Error(Code::kInvalidArgument, "a NUL byte in the text");
  return text->get();
}

Result<uint64_t> ReadInteger(const toml::node& node, const Option& option) {
  const toml::value<int64_t>* number = node.as_integer();
  if (number == nullptr) return Expected("an integer", node);
  const int64_t value = number->get();
  if (value < 0 || static_cast<uint64_t>(value) < option.min || static_cast<uint64_t>(value) > option.max) {
    if (option.min == option.max) return MakeError(Code::kInvalidArgument, "{} is not {}", value, option.min);
    return MakeError(Code::kInvalidArgument, "{} is not in the range {} to {}", value, option.min,
                     option.max);
  }
  return static_cast<uint64_t>(value);
}

// Stores a value where its option says.
struct StoreValue {
  const Option& option;
  const toml::node& node;
  const Host& host;

  Status operator()(bool* target) const {
    const toml::value<bool>* value = node.as_boolean();
    if (value == nullptr) return Expected("a boolean", node);
    *target = value->get();
    return {};
  }
  Status operator()(std::string* target) const {
    std::string text = TRY(ReadString(node));
    if (!option.allowed.empty() &&
        std::find(option.allowed.begin(), option.allowed.end(), text) == option.allowed.end()) {
      return MakeError(Code::kInvalidArgument, "'{}' is not one of {}", text,
                       fmt::join(option.allowed, ", "));
    }
    *target = std::move(text);
    return {};
  }
  Status operator()(uint32_t* target) const {
    *target = static_cast<uint32_t>(TRY(ReadInteger(node, option)));
    return {};
  }
  Status operator()(uint64_t* target) const {
    *target = TRY(ReadInteger(node, option));
    return {};
  }
  Status operator()(std::chrono::seconds* target) const {
    *target = std::chrono::seconds(TRY(ReadInteger(node, option)));
    return {};
  }
  Status operator()(const CpuCount& target) const {
    const std::optional<double> number = node.is_number() ? node.value<double>() : std::nullopt;
    if (!number || !std::isfinite(*number)) return Expected("a number", node);
    uint32_t count = host.cpus;
    if (*number == 0) {
      count = target.zero_means == 0 ? host.cpus : target.zero_means;
    } else if (*number > 0 && *number < host.cpus) {
      count = static_cast<uint32_t>(std::ceil(*number));
    }
    *target.value = count;
    return {};
  }
  Status operator()(std::vector<std::string>* target) const {
    const toml::array* array = node.as_array();
    if (array == nullptr) return Expected("a list of strings", node);
    std::vector<std::string> list;
    for (const toml::node& element : *array)
      list.push_back(TRY_CTX(ReadString(element), "element {}", list.size() + 1));
    *target = std::move(list);
    return {};
  }
};

bool AsksForNothing(const toml::node& node, std::string_view harmless) {
  if (const toml::array* list = node.as_array()) {
    if (list->empty()) return true;
    return list->size() == 1 && list->get(0)->is_string() && list->get(0)->as_string()->get() == harmless;
  }
  if (const toml::value<std::string>* text = node.as_string()) {
    return text->get().empty() || text->get() == harmless;
  }
  if (const toml::value<bool>* flag = node.as_boolean()) return flag->get() == (harmless == "true");
  const std::optional<double> number = node.is_number() ? node.value<double>() : std::nullopt;
  return number && (*number == 0 || fmt::format("{}", *number) == harmless);
}

toml::table ValueTable(auto&& value) {
  toml::table table;
  table.insert("value", std::forward<decltype(value)>(value));
  return table;
}

// The text of an annotation as the table that "value = TEXT" would be in a file. Strings stand there without
// quotes, lists as in JSON, or with semicolons.
struct ReadText {
  const std::string& text;

  Result<toml::table> operator()(std::string*) const { return ValueTable(text); }
  Result<toml::table> operator()(bool*) const {
    for (const char* word : {"true", "True", "TRUE", "t", "T", "1"}) {
      if (text == word) return ValueTable(true);
    }
    for (const char* word : {"false", "False", "FALSE", "f", "F", "0"}) {
      if (text == word) return ValueTable(false);
    }
    return MakeError(Code::kInvalidArgument, "'{}' is neither true nor false", text);
  }
  Result<toml::table> operator()(std::vector<std::string>*) const {
    if (text.starts_with('[')) return Literal();
    toml::array list;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ';');) list.push_back(part);
    return ValueTable(std::move(list));
  }
  Result<toml::table> operator()(uint32_t*) const { return Literal(); }
  Result<toml::table> operator()(uint64_t*) const { return Literal(); }
  Result<toml::table> operator()(std::chrono::seconds*) const { return Literal(); }
  Result<toml::table> operator()(const CpuCount&) const { return Literal(); }

 private:
  Result<toml::table> Literal() const {
    Result<toml::table> table = ParseToml("value = " + text, "annotation");
    if (table && table->size() == 1) return table;
    return MakeError(Code::kInvalidArgument, "'{}' is malformed", text);
  }
};

}  // namespace

// Walks through one file.
class Loader::TableReader {
 public:
  TableReader(Loader& loader, const std::string& file) : loader_(loader), file_(file) {}

  Status ReadRoot(const toml::table& root) {
    for (const auto& [key, node] : root) {
      if (key.str() == "hypervisor") {
        TRY(ReadHypervisors(*TRY(AsTable(node, "hypervisor"))));
      } else if (key.str() == "agent") {
        TRY(ReadAgents(*TRY(AsTable(node, "agent"))));
      } else if (key.str() == "runtime") {
        TRY(ReadSection(*TRY(AsTable(node, "runtime")), Section::kRuntime, "runtime"));
      } else if (key.str() == "factory") {
        for (const auto& [name, value] : *TRY(AsTable(node, "factory"))) {
          WarnUnused(fmt::format("factory.{}", name.str()), fmt::format("factory.{}", name.str()), value);
        }
      } else {
        WarnUnused(key.str(), std::string(key.str()), node);
      }
    }
    NoteHarmless();
    return {};
  }

 private:
  std::string At(const toml::node& node) const {
    return fmt::format("{}:{}", file_, node.source().begin.line);
  }

  Result<const toml::table*> AsTable(const toml::node& node, std::string_view path) const {
    if (const toml::table* table = node.as_table()) return table;
    return Expected("a table", node).Wrap(fmt::format("{}: {}", At(node), path));
  }

  Status ReadHypervisors(const toml::table& hypervisors) {
    for (const auto& [key, node] : hypervisors) {
      const std::string path = fmt::format("hypervisor.{}", key.str());
      const toml::table& table = *TRY(AsTable(node, path));
      const std::vector<std::string_view>& known = HypervisorNames();
      if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
        return MakeError(Code::kInvalidArgument, "{}: {}: '{}' is not one of {}", At(node), path, key.str(),
                         fmt::join(known, ", "));
      }
      std::string& name = loader_.config_.hypervisor_name;
      if (!name.empty() && name != key.str()) {
        return MakeError(Code::kInvalidArgument, "{}: {}: a second hypervisor beside '{}'", At(node), path,
                         name);
      }
      name = key.str();
      TRY(ReadSection(table, Section::kHypervisor, "hypervisor"));
    }
    return {};
  }

  Status ReadAgents(const toml::table& agents) {
    for (const auto& [key, node] : agents) {
      const std::string path = fmt::format("agent.{}", key.str());
      if (key.str() == "kata") {
        TRY(ReadSection(*TRY(AsTable(node, path)), Section::kAgent, "agent"));
      } else {
        WarnUnused(path, path, node);
      }
    }
    return {};
  }

  // `kind` stands for the section in the list of unused keys.
  Status ReadSection(const toml::table& table, Section section, std::string_view kind) {
    for (const auto& [key, node] : table) {
      const std::string path = loader_.PathOf(section, key.str());
      const Option* option = loader_.FindOption(section, key.str());
      if (option == nullptr) {
        WarnUnused(fmt::format("{}.{}", kind, key.str()), path, node);
        continue;
      }
      TRY_CTX(std::visit(StoreValue{*option, node, loader_.host_}, option->target), "{}: {}", At(node), path);
      loader_.config_.locations[path] = At(node);
      if (!option->used) WarnNotUsed(path, node, "");
    }
    return {};
  }

  void Warn(const std::string& path, const toml::node& node, std::string_view what) {
    loader_.config_.warnings.push_back(fmt::format("{}: key '{}' {}", At(node), path, what));
  }
  void WarnUnused(std::string_view unused_key, const std::string& path, const toml::node& node) {
    if (const std::optional<std::string_view> harmless = HarmlessValueOfUnusedKey(unused_key)) {
      WarnNotUsed(path, node, *harmless);
    } else {
      Warn(path, node, "is unknown");
    }
  }
  void WarnNotUsed(const std::string& path, const toml::node& node, std::string_view harmless) {
    if (AsksForNothing(node, harmless)) {
      harmless_[node.source().begin.line].push_back(path);
    } else {
      Warn(path, node, "is not used by this version");
    }
  }
  void NoteHarmless() {
    std::string keys;
    for (const auto& [line, paths] : harmless_) {
      for (const std::string& path : paths) {
        keys += fmt::format("{}{} (line {})", keys.empty() ? "" : ", ", path, line);
      }
    }
    if (keys.empty()) return;
    loader_.config_.notes.push_back(fmt::format(
        "{}: not used by this version, and left as they are in Kata's own files: {}", file_, keys));
  }

  Loader& loader_;
  const std::string& file_;
  std::map<toml::source_index, std::vector<std::string>> harmless_;  // by lines
};

Loader::Loader(Host host) : host_(std::move(host)), options_(OptionsOf(config_)) {}

const Option* Loader::FindOption(Section section, std::string_view key) const {
  const auto found = std::find_if(options_.begin(), options_.end(),
                                  [&](const Option& o) { return o.section == section && o.key == key; });
  return found == options_.end() ? nullptr : &*found;
}

Status Loader::SetFromText(const Option& option, const std::string& text) {
  const toml::table table = TRY(std::visit(ReadText{text}, option.target));
  const toml::node& node = *table.get("value");
  if (std::holds_alternative<CpuCount>(option.target)) {
    const double count = node.value_or(0.0);
    if (!(count > 0 && count <= host_.cpus)) {
      return MakeError(Code::kInvalidArgument, "'{}' is not in the range 1 to {}", text, host_.cpus);
    }
  }
  return std::visit(StoreValue{option, node, host_}, option.target);
}

Status Loader::Add(std::string_view text, const std::string& file) {
  const toml::table table = TRY(ParseToml(text, file));
  if (config_.file.empty()) config_.file = file;
  return TableReader(*this, file).ReadRoot(table);
}

}  // namespace kata::config
