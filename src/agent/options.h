// The agent's options: words of the kernel command line, keys of its configuration file, environment
// variables.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace kata::agent {

// Which REST endpoints and helper programs of a confidential guest are wanted.
enum class GuestRestApi { kAll, kAttestation, kResource };
enum class GuestProcs { kNone, kAttestationAgent, kConfidentialDataHub, kApiServerRest };

struct Options {
  std::string config_file;                      // agent.config_file: replaces all other words
  std::string server_addr = "vsock://-1:1024";  // vsock://CID:PORT, unix://PATH, serial://PORT NAME
  log::Level log_level = log::Level::kInfo;
  uint32_t log_vport = 0;  // vsock port that serves the log; 0: the log goes to a port or the console
  bool debug_console = false;
  uint32_t debug_console_vport = 0;
  bool dev_mode = false;  // allow core dumps
  bool trace = false;
  std::chrono::seconds hotplug_timeout{3};
  uint32_t container_pipe_size_bytes = 0;  // of stdio pipes; 0: the kernel's default
  uint32_t passfd_listener_port = 0;
  std::chrono::seconds cdh_api_timeout{50};
  std::chrono::seconds image_pull_timeout{1200};
  std::chrono::seconds cdi_timeout{100};
  std::chrono::seconds launch_process_timeout{6};
  bool visible_cdi_devices = false;
  std::string https_proxy;
  std::string no_proxy;
  GuestRestApi guest_components_rest_api = GuestRestApi::kResource;
  GuestProcs guest_components_procs = GuestProcs::kApiServerRest;
  bool secure_storage_integrity = true;
  bool unified_cgroup_hierarchy = false;  // the command line asks for cgroup v2, which this agent always uses

  bool mem_agent_enable = false;
  std::optional<bool> mem_agent_memcg_disable;
  std::optional<bool> mem_agent_memcg_swap;
  std::optional<uint8_t> mem_agent_memcg_swappiness_max;
  std::optional<uint64_t> mem_agent_memcg_period_secs;
  std::optional<uint8_t> mem_agent_memcg_period_psi_percent_limit;
  std::optional<uint8_t> mem_agent_memcg_eviction_psi_percent_limit;
  std::optional<uint64_t> mem_agent_memcg_eviction_run_aging_count_min;
  std::optional<bool> mem_agent_compact_disable;
  std::optional<uint64_t> mem_agent_compact_period_secs;
  std::optional<uint8_t> mem_agent_compact_period_psi_percent_limit;
  std::optional<uint8_t> mem_agent_compact_psi_percent_limit;
  std::optional<int64_t> mem_agent_compact_sec_max;
  std::optional<uint8_t> mem_agent_compact_order;
  std::optional<uint64_t> mem_agent_compact_threshold;
  std::optional<uint64_t> mem_agent_compact_force_times;
};

// Options and what was wrong with the text they came from, one line each, for the log: malformed values,
// which leave the default, and options that this agent does nothing with.
struct ParsedOptions {
  Options options;
  std::vector<std::string> problems;
};

// /proc/cmdline: words between white space. Unknown words belong to somebody else and are ignored; a value
// needs exactly one '='; of a repeated word the last one wins.
ParsedOptions ParseCommandLine(std::string_view command_line);

// Whether a word of it is an option of an agent: this kernel was booted for one.
bool NamesAgent(std::string_view command_line);

// A configuration file: "key = value" lines of TOML with strings, integers and booleans. Anything else is
// kInvalidArgument with the line's number; an unknown key is a problem only.
Result<ParsedOptions> ParseConfigFile(std::string_view text);

// KATA_AGENT_SERVER_ADDR, KATA_AGENT_LOG_LEVEL, KATA_AGENT_TRACING, for tests. Sets what is set in the
// environment.
void ApplyEnvironment(ParsedOptions& parsed);

// "server_addr=vsock://-1:1024 log_level=info ...": what differs from silence, for the first log record.
std::string DescribeOptions(const Options& options);

}  // namespace kata::agent
