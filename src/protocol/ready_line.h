// The word by which a service says that it is ready (sd_notify(3)), on its way from a container, which nobody
// trusts, to the host's service manager.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace kata::protocol {

inline constexpr size_t kMaxReadyLineBytes = 128;

// "READY=" and what follows it, at most kMaxReadyLineBytes of printable ASCII: one assignment and no more.
bool IsReadyLine(std::string_view line);

// The first such line of a message, which may be anything; nullopt: it has none.
std::optional<std::string_view> FindReadyLine(std::string_view message);

}  // namespace kata::protocol
