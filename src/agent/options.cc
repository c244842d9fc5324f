#include "agent/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/take_field.h"

namespace kata::agent {
namespace {

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {
  using Value = T;
};
template <typename T>
struct IsSeconds : std::is_same<T, std::chrono::seconds> {};

template <typename T>
Result<T> ParseInteger(std::string_view text, T min) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    return MakeError(Code::kInvalidArgument, "'{}' is out of range", text);
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return MakeError(Code::kInvalidArgument, "'{}' is not a whole number", text);
  }
  if (value < min) return MakeError(Code::kInvalidArgument, "'{}' is below {}", text, min);
  return value;
}

Result<bool> ParseBool(std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return MakeError(Code::kInvalidArgument, "'{}' is neither true nor false", text);
}

// Sets a member from text as its type demands. `min` holds for integers.
template <auto Member, int min = 0>
Status Set(Options& options, std::string_view text) {
  auto& member = options.*Member;
  using Type = std::remove_reference_t<decltype(member)>;
  if constexpr (std::is_same_v<Type, std::string>) {
    if (text.empty()) return Error(Code::kInvalidArgument, "the value is empty");
    member = std::string(text);
  } else if constexpr (std::is_same_v<Type, bool> || std::is_same_v<Type, std::optional<bool>>) {
    member = TRY(ParseBool(text));
  } else if constexpr (IsSeconds<Type>::value) {
    member = std::chrono::seconds(TRY(ParseInteger<uint32_t>(text, min)));
  } else if constexpr (IsOptional<Type>::value) {
    using Value = typename IsOptional<Type>::Value;
    member =
        TRY(ParseInteger<Value>(text, std::is_signed_v<Value> ? std::numeric_limits<Value>::min() : min));
  } else {
    member = TRY(ParseInteger<Type>(text, min));
  }
  return {};
}

template <typename Enum>
struct Choice {
  std::string_view name;
  Enum value;
};

template <typename Enum, size_t n>
Result<Enum> ParseChoice(const Choice<Enum> (&choices)[n], std::string_view text) {
  std::string allowed;
  for (const Choice<Enum>& choice : choices) {
    if (choice.name == text) return choice.value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(choice.name);
  }
  return MakeError(Code::kInvalidArgument, "'{}' is none of {}", text, allowed);
}

constexpr Choice<log::Level> kLogLevels[] = {
    {"fatal", log::Level::kCritical}, {"panic", log::Level::kCritical}, {"critical", log::Level::kCritical},
    {"error", log::Level::kError},    {"warn", log::Level::kWarning},   {"warning", log::Level::kWarning},
    {"info", log::Level::kInfo},      {"debug", log::Level::kDebug},    {"trace", log::Level::kTrace},
};
constexpr Choice<GuestRestApi> kRestApis[] = {
    {"all", GuestRestApi::kAll},
    {"attestation", GuestRestApi::kAttestation},
    {"resource", GuestRestApi::kResource},
};
constexpr Choice<GuestProcs> kProcs[] = {
    {"none", GuestProcs::kNone},
    {"attestation-agent", GuestProcs::kAttestationAgent},
    {"confidential-data-hub", GuestProcs::kConfidentialDataHub},
    {"api-server-rest", GuestProcs::kApiServerRest},
};

Status SetLogLevel(Options& options, std::string_view text) {
  options.log_level = TRY(ParseChoice(kLogLevels, text));
  return {};
}

Status SetRestApi(Options& options, std::string_view text) {
  options.guest_components_rest_api = TRY(ParseChoice(kRestApis, text));
  return {};
}

Status SetProcs(Options& options, std::string_view text) {
  options.guest_components_procs = TRY(ParseChoice(kProcs, text));
  return {};
}

// The kernel's own word: only "all" disables every v1 controller and so leaves nothing but v2.
Status SetNoCgroupV1(Options& options, std::string_view text) {
  options.unified_cgroup_hierarchy |= text == "all";
  return {};
}

enum class Form { kFlag, kValue, kFlagOrValue };

struct Entry {
  std::string_view word;  // on the command line
  std::string_view key;   // in the configuration file; empty: not there
  Form form;
  Status (*set)(Options&, std::string_view);
  bool used = true;  // false: of Kata's agent, checked, but nothing is done with it here
};

// An entry of an option that this agent does nothing with.
constexpr Entry NotUsed(Entry entry) {
  entry.used = false;
  return entry;
}

constexpr Entry kEntries[] = {
    {"agent.config_file", "", Form::kValue, Set<&Options::config_file>},
    {"agent.log", "log_level", Form::kValue, SetLogLevel},
    {"agent.log_vport", "log_vport", Form::kValue, Set<&Options::log_vport, 1>},
    {"agent.server_addr", "server_addr", Form::kValue, Set<&Options::server_addr>},
    {"agent.debug_console", "debug_console", Form::kFlag, Set<&Options::debug_console>},
    {"agent.debug_console_vport", "debug_console_vport", Form::kValue, Set<&Options::debug_console_vport, 1>},
    {"agent.devmode", "dev_mode", Form::kFlag, Set<&Options::dev_mode>},
    NotUsed({"agent.trace", "tracing", Form::kFlagOrValue, Set<&Options::trace>}),
    {"agent.hotplug_timeout", "hotplug_timeout", Form::kValue, Set<&Options::hotplug_timeout, 1>},
    {"agent.container_pipe_size", "container_pipe_size", Form::kValue,
     Set<&Options::container_pipe_size_bytes>},
    NotUsed({"agent.passfd_listener_port", "passfd_listener_port", Form::kValue,
             Set<&Options::passfd_listener_port, 1>}),
    NotUsed({"agent.cdh_api_timeout", "cdh_api_timeout", Form::kValue, Set<&Options::cdh_api_timeout, 1>}),
    NotUsed({"agent.image_pull_timeout", "image_pull_timeout", Form::kValue,
             Set<&Options::image_pull_timeout, 1>}),
    NotUsed({"agent.cdi_timeout", "cdi_timeout", Form::kValue, Set<&Options::cdi_timeout, 1>}),
    NotUsed({"agent.launch_process_timeout", "launch_process_timeout", Form::kValue,
             Set<&Options::launch_process_timeout, 1>}),
    NotUsed({"agent.visible_cdi_devices", "visible_cdi_devices", Form::kValue,
             Set<&Options::visible_cdi_devices>}),
    NotUsed({"agent.https_proxy", "https_proxy", Form::kValue, Set<&Options::https_proxy>}),
    NotUsed({"agent.no_proxy", "no_proxy", Form::kValue, Set<&Options::no_proxy>}),
    NotUsed({"agent.guest_components_rest_api", "guest_components_rest_api", Form::kValue, SetRestApi}),
    NotUsed({"agent.guest_components_procs", "guest_components_procs", Form::kValue, SetProcs}),
    NotUsed({"agent.secure_storage_integrity", "secure_storage_integrity", Form::kValue,
             Set<&Options::secure_storage_integrity>}),
    {"cgroup_no_v1", "", Form::kValue, SetNoCgroupV1},
    {"systemd.unified_cgroup_hierarchy", "unified_cgroup_hierarchy", Form::kValue,
     Set<&Options::unified_cgroup_hierarchy>},
    NotUsed(
        {"agent.mem_agent_enable", "mem_agent_enable", Form::kFlagOrValue, Set<&Options::mem_agent_enable>}),
    NotUsed({"agent.mem_agent_memcg_disable", "mem_agent_memcg_disable", Form::kValue,
             Set<&Options::mem_agent_memcg_disable>}),
    NotUsed({"agent.mem_agent_memcg_swap", "mem_agent_memcg_swap", Form::kValue,
             Set<&Options::mem_agent_memcg_swap>}),
    NotUsed({"agent.mem_agent_memcg_swappiness_max", "mem_agent_memcg_swappiness_max", Form::kValue,
             Set<&Options::mem_agent_memcg_swappiness_max>}),
    NotUsed({"agent.mem_agent_memcg_period_secs", "mem_agent_memcg_period_secs", Form::kValue,
             Set<&Options::mem_agent_memcg_period_secs>}),
    NotUsed({"agent.mem_agent_memcg_period_psi_percent_limit", "mem_agent_memcg_period_psi_percent_limit",
             Form::kValue, Set<&Options::mem_agent_memcg_period_psi_percent_limit>}),
    NotUsed({"agent.mem_agent_memcg_eviction_psi_percent_limit", "mem_agent_memcg_eviction_psi_percent_limit",
             Form::kValue, Set<&Options::mem_agent_memcg_eviction_psi_percent_limit>}),
    NotUsed({"agent.mem_agent_memcg_eviction_run_aging_count_min",
             "mem_agent_memcg_eviction_run_aging_count_min", Form::kValue,
             Set<&Options::mem_agent_memcg_eviction_run_aging_count_min>}),
    NotUsed({"agent.mem_agent_compact_disable", "mem_agent_compact_disable", Form::kValue,
             Set<&Options::mem_agent_compact_disable>}),
    NotUsed({"agent.mem_agent_compact_period_secs", "mem_agent_compact_period_secs", Form::kValue,
             Set<&Options::mem_agent_compact_period_secs>}),
    NotUsed({"agent.mem_agent_compact_period_psi_percent_limit", "mem_agent_compact_period_psi_percent_limit",
             Form::kValue, Set<&Options::mem_agent_compact_period_psi_percent_limit>}),
    NotUsed({"agent.mem_agent_compact_psi_percent_limit", "mem_agent_compact_psi_percent_limit", Form::kValue,
             Set<&Options::mem_agent_compact_psi_percent_limit>}),
    NotUsed({"agent.mem_agent_compact_sec_max", "mem_agent_compact_sec_max", Form::kValue,
             Set<&Options::mem_agent_compact_sec_max>}),
    NotUsed({"agent.mem_agent_compact_order", "mem_agent_compact_order", Form::kValue,
             Set<&Options::mem_agent_compact_order>}),
    NotUsed({"agent.mem_agent_compact_threshold", "mem_agent_compact_threshold", Form::kValue,
             Set<&Options::mem_agent_compact_threshold>}),
    NotUsed({"agent.mem_agent_compact_force_times", "mem_agent_compact_force_times", Form::kValue,
             Set<&Options::mem_agent_compact_force_times>}),
};

// Null: somebody else's.
const Entry* FindWord(std::string_view word) {
  const auto* const found =
      std::find_if(std::begin(kEntries), std::end(kEntries), [&](const Entry& e) { return e.word == word; });
  return found == std::end(kEntries) ? nullptr : found;
}

// What `name` says of `entry` has been applied with this outcome.
void Note(const Entry& entry, const std::string& name, const Status& applied, ParsedOptions& parsed) {
  if (!applied) {
    parsed.problems.push_back(fmt::format("{}: {}", name, applied.error().message()));
  } else if (!entry.used) {
    // Without the value, which may be a secret, as of a proxy.
    parsed.problems.push_back(fmt::format("option '{}' has no effect in this agent", entry.word));
  }
}

Status ApplyWord(const Entry& entry, std::string_view word, Options& options) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) {
    if (entry.form == Form::kValue) return Error(Code::kInvalidArgument, "a value is missing");
    return entry.set(options, "true");
  }
  if (entry.form == Form::kFlag) return Error(Code::kInvalidArgument, "takes no value");
  const std::string_view value = word.substr(equals + 1);
  if (value.contains('=')) return Error(Code::kInvalidArgument, "more than one '='");
  return entry.set(options, value);
}

// The value of a "key = value" line without quotes and comment.
Result<std::string_view> TomlScalar(std::string_view text) {
  if (!text.empty() && (text[0] == '"' || text[0] == '\'')) {
    const size_t end = text.find(text[0], 1);
    if (end == std::string_view::npos) return Error(Code::kInvalidArgument, "a quote is missing");
    const std::string_view rest = Trim(text.substr(end + 1));
    if (!rest.empty() && rest[0] != '#') return Error(Code::kInvalidArgument, "text behind the string");
    const std::string_view content = text.substr(1, end - 1);
    if (text[0] == '"' && content.contains('\\')) {
      return Error(Code::kInvalidArgument, "escapes are not supported");
    }
    return content;
  }
  const std::string_view value = Trim(text.substr(0, text.find('#')));
  if (value.empty()) return Error(Code::kInvalidArgument, "a value is missing");
  if (value[0] == '[' || value[0] == '{') {
    return Error(Code::kInvalidArgument, "expected a string, an integer or a boolean");
  }
  return value;
}

Status ApplyLine(std::string_view line, ParsedOptions& parsed) {
  if (line[0] == '[') return Error(Code::kInvalidArgument, "tables are not supported");
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) return Error(Code::kInvalidArgument, "expected 'key = value'");
  const std::string_view key = Trim(line.substr(0, equals));
  const std::string_view value = TRY(TomlScalar(Trim(line.substr(equals + 1))));
  const auto entry = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const Entry& e) { return !e.key.empty() && e.key == key; });
  if (entry == std::end(kEntries)) {
    parsed.problems.push_back(fmt::format("unknown key '{}'", key));
    return {};
  }
  const std::string name = fmt::format("key '{}'", key);
  TRY_CTX(entry->set(parsed.options, value), "{}", name);
  Note(*entry, name, {}, parsed);
  return {};
}

}  // namespace

ParsedOptions ParseCommandLine(std::string_view command_line) {
  constexpr std::string_view kBlank = " \t\r\n";
  ParsedOptions parsed;
  size_t position = 0;
  while ((position = command_line.find_first_not_of(kBlank, position)) != std::string_view::npos) {
    const size_t end = std::min(command_line.find_first_of(kBlank, position), command_line.size());
    const std::string_view word = command_line.substr(position, end - position);
    position = end;
    if (const Entry* entry = FindWord(word.substr(0, word.find('=')))) {
      Note(*entry, fmt::format("option '{}'", word), ApplyWord(*entry, word, parsed.options), parsed);
    }
  }
  return parsed;
}

bool NamesAgent(std::string_view command_line) {
  return command_line.starts_with("agent.") || command_line.contains(" agent.");
}

Result<ParsedOptions> ParseConfigFile(std::string_view text) {
  ParsedOptions parsed;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#') continue;
    TRY_CTX(ApplyLine(line, parsed), "line {}", number);
  }
  return parsed;
}

void ApplyEnvironment(ParsedOptions& parsed) {
  constexpr std::pair<const char*, std::string_view> kVariables[] = {
      {"KATA_AGENT_SERVER_ADDR", "agent.server_addr"},
      {"KATA_AGENT_LOG_LEVEL", "agent.log"},
      {"KATA_AGENT_TRACING", "agent.trace"},
  };
  for (const auto& [name, word] : kVariables) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    const Entry& entry = *FindWord(word);
    Note(entry, fmt::format("environment variable '{}'", name), entry.set(parsed.options, value), parsed);
  }
}

std::string DescribeOptions(const Options& options) {
  std::string text =
      fmt::format("server_addr={} log={}", options.server_addr, log::LevelName(options.log_level));
  const auto add = [&text](std::string_view name, uint64_t value) {
    if (value != 0) text += fmt::format(" {}={}", name, value);
  };
  add("log_vport", options.log_vport);
  add("container_pipe_size", options.container_pipe_size_bytes);
  add("debug_console", options.debug_console);
  add("debug_console_vport", options.debug_console_vport);
  add("devmode", options.dev_mode);
  return text;
}

}  // namespace kata::agent
