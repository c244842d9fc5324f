// The table of the configuration keys that this version reads: what each takes, where it goes, what it
// means. The loader works by it, and docs/configuration.md shows it.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"

namespace kata::config {

// The tables of configuration.toml. kHypervisor is [hypervisor.NAME], the others have fixed names.
enum class Section { kHypervisor, kAgent, kRuntime };

// A number of CPUs: negative or more than the host has means all of the host's; a fraction is rounded up.
struct CpuCount {
  uint32_t* value;
  uint32_t zero_means;  // 0: all of the host's
};

// Where a value goes; the alternative also says which TOML type is expected.
using Target = std::variant<bool*, std::string*, uint32_t*, uint64_t*, std::chrono::seconds*, CpuCount,
                            std::vector<std::string>*>;

struct Option {
  Section section;
  std::string_view key;
  Target target;
  std::string_view meaning;  // one line for docs/configuration.md
  // Strings: one of these, if any are given.
  std::vector<std::string_view> allowed = {};
  // Integers and seconds.
  uint64_t min = 0;
  uint64_t max = std::numeric_limits<uint32_t>::max();
  bool used = true;  // false: read and checked, but nothing is done with it yet, which a warning tells
};

// The names X that [hypervisor.X] may have.
const std::vector<std::string_view>& HypervisorNames();

// All of them, in the order of the documentation, with targets in `config`, which must outlive the
// result.
std::vector<Option> OptionsOf(Config& config);

// "hypervisor.qemu", "agent.kata", "runtime": the TOML path of a section.
std::string SectionPath(Section section, std::string_view hypervisor_name);

// Of a key of Kata Containers that this version accepts without using it ("hypervisor.memory_slots",
// "factory.enable_template"; without the hypervisor's name): the value that is left in Kata's own files by
// who wants nothing of it. Empty: false, 0, "" or an empty list. nullopt: there is no such key.
std::optional<std::string_view> HarmlessValueOfUnusedKey(std::string_view path);

// The rows of the table in docs/configuration.md: "| `key` | type | default | meaning |".
std::string OptionsAsMarkdown();

}  // namespace kata::config
