// Reading and writing by the tables of members.h.
#include "oci/json.h"

#include <concepts>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "oci/json_document.h"
#include "oci/json_path.h"
#include "oci/limits.h"
#include "oci/members.h"

namespace kata::oci {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

template <typename T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;

std::string_view KindOf(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::boolean:
      return "a boolean";
    case json::value_t::string:
      return "a string";
    case json::value_t::array:
      return "an array";
    case json::value_t::object:
      return "an object";
    default:
      return "a number";
  }
}

// Moves a document's values into a struct; fails at the first that does not fit, naming its path.
class Reader {
 public:
  Status Read(const json& value, bool& out) {
    if (!value.is_boolean()) return Unexpected("a boolean", value);
    out = value.get<bool>();
    return {};
  }

  template <Integer T>
  Status Read(const json& value, T& out) {
    if (!value.is_number()) return Unexpected("an integer", value);
    // The parser keeps whole numbers from INT64_MIN to UINT64_MAX exactly and all others as floating point.
    if (value.is_number_float()) return Fail("expected an integer, found {}", value.get<double>());
    if (value.is_number_unsigned()) {
      const auto number = value.get<uint64_t>();
      if (!std::in_range<T>(number)) return OutOfRange<T>(number);
      out = static_cast<T>(number);
    } else {
      const auto number = value.get<int64_t>();
      if (!std::in_range<T>(number)) return OutOfRange<T>(number);
      out = static_cast<T>(number);
    }
    return {};
  }

  Status Read(const json& value, std::string& out) {
    if (!value.is_string()) return Unexpected("a string", value);
    out = value.get_ref<const std::string&>();
    return {};
  }

  template <typename T>
  Status Read(const json& value, std::optional<T>& out) {
    return Read(value, out.emplace());
  }

  template <typename T>
  Status Read(const json& value, std::vector<T>& out) {
    if (!value.is_array()) return Unexpected("an array", value);
    if (Described<T> && value.size() > kMaxObjects) return TooMany(value.size());
    out.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
      const ScopedStep step(path_, i);
      TRY(Read(value[i], out.emplace_back()));
    }
    return {};
  }

  template <typename T>
  Status Read(const json& value, std::map<std::string, T>& out) {
    if (!value.is_object()) return Unexpected("an object", value);
    if (value.size() > kMaxObjects) return TooMany(value.size());
    for (const auto& [name, member] : value.get_ref<const json::object_t&>()) {
      const ScopedStep step(path_, name);
      TRY(Read(member, out[name]));
    }
    return {};
  }

  template <Described T>
  Status Read(const json& value, T& out) {
    if (!value.is_object()) return Unexpected("an object", value);
    const auto& object = value.get_ref<const json::object_t&>();
    Status status;
    std::apply([&](const auto&... member) { (void)(... && (status = ReadMember(object, member, out))); },
               kMembers<T>);
    return status;
  }

 private:
  // Go's encoders write null for what is not there.
  static const json* Find(const json::object_t& object, std::string_view name) {
    const auto found = object.find(name);
    return found == object.end() || found->second.is_null() ? nullptr : &found->second;
  }

  template <typename T, typename Field>
  Status ReadMember(const json::object_t& object, const Member<T, Field>& member, T& out) {
    const ScopedStep step(path_, member.name);
    const json* value = Find(object, member.name);
    if (value != nullptr) return Read(*value, out.*member.field);
    if (member.presence == Presence::kRequired) return Fail("missing");
    return {};
  }

  template <typename T, typename Field>
  Status ReadMember(const json::object_t& object, const WrappedMember<T, Field>& member, T& out) {
    const ScopedStep step(path_, member.name);
    const json* value = Find(object, member.name);
    if (value == nullptr) return {};
    if (!value->is_object()) return Unexpected("an object", *value);
    return ReadMember(value->get_ref<const json::object_t&>(), member.inner, out);
  }

  template <typename T>
  Status ReadMember(const json::object_t& object, const RefusedMember& member, T&) {
    const ScopedStep step(path_, member.name);
    if (Find(object, member.name) != nullptr) return path_.MakeError(member.reason);
    return {};
  }

  template <typename... Args>
  Error Fail(fmt::format_string<Args...> format, Args&&... args) const {
    return path_.MakeError(fmt::format(format, std::forward<Args>(args)...));
  }
  Error Unexpected(std::string_view expected, const json& found) const {
    return Fail("expected {}, found {}", expected, KindOf(found));
  }
  template <typename T, typename Number>
  Error OutOfRange(Number number) const {
    return Fail("expected an integer from {} to {}, found {}", std::numeric_limits<T>::min(),
                std::numeric_limits<T>::max(), number);
  }
  Error TooMany(size_t count) const { return Fail("{} entries, the limit is {}", count, kMaxObjects); }

  JsonPath path_;
};

template <typename T>
Result<T> Parse(std::string_view text) {
  const json document = TRY(ParseDocument(text));
  T out;
  TRY(Reader().Read(document, out));
  return out;
}

// --- writing ---

template <typename T>
bool IsAbsent(const T& value) {
  return value == T();
}
template <typename T>
bool IsAbsent(const std::optional<T>& value) {
  return !value.has_value();
}
template <typename T>
bool IsAbsent(const std::vector<T>& value) {
  return value.empty();
}
template <typename T>
bool IsAbsent(const std::map<std::string, T>& value) {
  return value.empty();
}
template <Described T>
bool IsAbsent(const T& value) {
  const auto absent = [&]<typename M>(const M& member) {
    if constexpr (requires { member.presence; }) {
      return member.presence == Presence::kOptional && IsAbsent(value.*member.field);
    } else if constexpr (requires { member.inner; }) {
      return IsAbsent(value.*member.inner.field);
    } else {
      return true;
    }
  };
  return std::apply([&](const auto&... member) { return (... && absent(member)); }, kMembers<T>);
}

template <typename T>
ordered_json Write(const T& value) {
  return value;
}
template <typename T>
ordered_json Write(const std::optional<T>& value);
template <typename T>
ordered_json Write(const std::vector<T>& values);
template <typename T>
ordered_json Write(const std::map<std::string, T>& values);
template <Described T>
ordered_json Write(const T& value);

// ordered_json's own insertion searches for the name first, which takes quadratic time for a map.
void Append(ordered_json& object, std::string_view name, ordered_json value) {
  object.get_ref<ordered_json::object_t&>().emplace_back(std::string(name), std::move(value));
}

template <typename T, typename Field>
void WriteMember(ordered_json& object, const Member<T, Field>& member, const T& value) {
  if (member.presence == Presence::kOptional && IsAbsent(value.*member.field)) return;
  Append(object, member.name, Write(value.*member.field));
}
template <typename T, typename Field>
void WriteMember(ordered_json& object, const WrappedMember<T, Field>& member, const T& value) {
  if (IsAbsent(value.*member.inner.field)) return;
  ordered_json wrapper = ordered_json::object();
  WriteMember(wrapper, member.inner, value);
  Append(object, member.name, std::move(wrapper));
}
template <typename T>
void WriteMember(ordered_json&, const RefusedMember&, const T&) {}

template <typename T>
ordered_json Write(const std::optional<T>& value) {
  return Write(*value);
}
template <typename T>
ordered_json Write(const std::vector<T>& values) {
  ordered_json array = ordered_json::array();
  for (const T& value : values) array.push_back(Write(value));
  return array;
}
template <typename T>
ordered_json Write(const std::map<std::string, T>& values) {
  ordered_json object = ordered_json::object();
  for (const auto& [name, value] : values) Append(object, name, Write(value));
  return object;
}
template <Described T>
ordered_json Write(const T& value) {
  ordered_json object = ordered_json::object();
  std::apply([&](const auto&... member) { (WriteMember(object, member, value), ...); }, kMembers<T>);
  return object;
}

// indent < 0: on one line. What is not UTF-8 becomes U+FFFD, as with Go's encoder.
template <typename T>
std::string Dump(const T& value, int indent = -1, char indent_char = ' ') {
  return Write(value).dump(indent, indent_char, false, ordered_json::error_handler_t::replace);
}

}  // namespace

Result<Spec> ParseSpec(std::string_view json) {
  return Parse<Spec>(json);
}
Result<Process> ParseProcess(std::string_view json) {
  return Parse<Process>(json);
}
Result<Resources> ParseResources(std::string_view json) {
  return Parse<Resources>(json);
}
Result<Hooks> ParseHooks(std::string_view json) {
  return Parse<Hooks>(json);
}

std::string ToJson(const Spec& spec) {
  return Dump(spec);
}
std::string ToJson(const Process& process) {
  return Dump(process);
}
std::string ToJson(const Resources& resources) {
  return Dump(resources);
}
std::string ToJson(const Hooks& hooks) {
  return Dump(hooks);
}
std::string ToJson(const State& state) {
  return Dump(state);
}

std::string ToIndentedJson(const Spec& spec) {
  return Dump(spec, 1, '\t');
}

}  // namespace kata::oci
