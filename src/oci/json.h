// config.json and its parts to and from oci:: values, and the state that `kata-runtime state` prints.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::oci {

// Limits on outside input, checked before anything is stored.
inline constexpr size_t kMaxConfigBytes = 32u << 20;

// Reads config.json. Every member's type and range is checked; a failure (kInvalidArgument) names the member
// by its path, e.g. "linux.resources.memory.limit: expected an integer, found a string". Duplicate keys,
// values out of range, NUL bytes in strings and nesting deeper than 64 are errors; unknown members are
// ignored as the specification demands ("extensibility").
Result<Spec> ParseSpec(std::string_view json);
// The `process` object alone (exec --process FILE; containerd's Exec.spec).
Result<Process> ParseProcess(std::string_view json);
// The `linux.resources` object alone (update --resources; containerd's Update.resources).
Result<Resources> ParseResources(std::string_view json);
// The `hooks` object alone.
Result<Hooks> ParseHooks(std::string_view json);

// Compact JSON that ParseX of the same build reads back to an equal value.
std::string ToJson(const Spec& spec);
std::string ToJson(const Process& process);
std::string ToJson(const Resources& resources);
std::string ToJson(const Hooks& hooks);
// The same for people: indented with tabs, as runc writes it.
std::string ToIndentedJson(const Spec& spec);

// The rules of the specification that need no file system: required members, absolute paths, known namespace
// and rlimit names, no duplicate namespaces, sections of another platform ("windows: not supported on linux"
// is found by ParseSpec). kInvalidArgument naming the member.
Status Validate(const Spec& spec);
Status Validate(const Process& process);
Status Validate(const Resources& resources);

// "State" of the specification.
struct State {
  std::string oci_version;
  std::string id;
  std::string status;  // creating, created, running, stopped, paused
  int pid = 0;         // on the host; 0: none
  std::string bundle;
  StringMap annotations;
};
// What hooks get on stdin.
std::string ToJson(const State& state);

}  // namespace kata::oci
