// The vocabulary of the validate_*.cc files: rules about one member at a place in the specification.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "linux/cpu_list.h"
#include "oci/json_path.h"
#include "oci/quote.h"
#include "oci/spec.h"

namespace kata::oci {

// kInvalidArgument "<path>.<member>: <text>".
template <typename... Args>
Error Invalid(JsonPath& path, std::string_view member, fmt::format_string<Args...> format, Args&&... args) {
  const ScopedStep step(path, member);
  return path.MakeError(fmt::format(format, std::forward<Args>(args)...));
}

inline Status CheckPresent(JsonPath& path, std::string_view member, const std::string& value) {
  if (value.empty()) return Invalid(path, member, "missing");
  return {};
}

inline Status CheckAbsolute(JsonPath& path, std::string_view member, const std::string& value) {
  TRY(CheckPresent(path, member, value));
  if (value.front() != '/') return Invalid(path, member, "expected an absolute path, found {}", Quote(value));
  return {};
}

// `path` leads to the value.
inline Status CheckKnown(const JsonPath& path, const std::string& value,
                         std::span<const std::string_view> known) {
  if (std::ranges::find(known, value) != known.end()) return {};
  return path.MakeError(fmt::format("unknown value {}", Quote(value)));
}

inline Status CheckOneOf(JsonPath& path, std::string_view member, const std::string& value,
                         std::span<const std::string_view> known) {
  TRY(CheckPresent(path, member, value));
  const ScopedStep step(path, member);
  return CheckKnown(path, value, known);
}

// An absent value is within any range.
template <typename T>
Status CheckRange(JsonPath& path, std::string_view member, const std::optional<T>& value,
                  std::type_identity_t<T> lowest, std::type_identity_t<T> highest) {
  if (!value || (*value >= lowest && *value <= highest)) return {};
  return Invalid(path, member, "expected an integer from {} to {}, found {}", lowest, highest, *value);
}

// "0-3,7". An absent list is right.
inline Status CheckCpuList(JsonPath& path, std::string_view member, const std::string& list) {
  if (list.empty() || kata::linux::ParseCpuList(list)) return {};
  return Invalid(path, member, "expected a list of numbers below {} such as 0-3,7, found {}",
                 kata::linux::CpuSet().size(), Quote(list));
}

// check(element) for each element of a list or check(key, value) for each of a map, with the path leading to
// it.
template <typename T, typename Check>
Status CheckEach(JsonPath& path, std::string_view member, const std::vector<T>& list, Check&& check) {
  const ScopedStep step(path, member);
  for (size_t i = 0; i < list.size(); ++i) {
    const ScopedStep index(path, i);
    TRY(check(list[i]));
  }
  return {};
}
template <typename T, typename Check>
Status CheckEach(JsonPath& path, std::string_view member, const std::map<std::string, T>& map,
                 Check&& check) {
  const ScopedStep step(path, member);
  for (const auto& [key, value] : map) {
    const ScopedStep index(path, key);
    TRY(check(key, value));
  }
  return {};
}

// `path` leads to the specification.
Status CheckMounts(JsonPath& path, const Spec& spec);
// `path` leads to the object.
Status CheckProcess(JsonPath& path, const Process& process);
Status CheckLinux(JsonPath& path, const Linux& linux);
Status CheckResources(JsonPath& path, const Resources& resources);
Status CheckSeccomp(JsonPath& path, const Seccomp& seccomp);

}  // namespace kata::oci
