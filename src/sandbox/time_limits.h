// How long the steps of a call to the sandbox server may take, and the calls that they make up. Clients wait
// as long as the latter, which is longer: it shall be the server that says what has taken too long.
#pragma once

#include <chrono>

#include "config/config.h"
#include "oci/spec.h"

namespace kata::sandbox {

// --- steps ---

// A call to the agent that nothing else limits; Kata's own limit.
inline constexpr std::chrono::seconds kAgentCallTime{60};
// All calls together that set up a guest which has booted, its network included.
inline constexpr std::chrono::seconds kGuestSetUpTime{60};
// All devices of a container into the machine, or out of it.
inline constexpr std::chrono::seconds kPlugTime{30};
// More processors and memory.
inline constexpr std::chrono::seconds kGrowTime{30};
// The guest is given what has changed in the container's network before its process starts.
inline constexpr std::chrono::seconds kSettleTime{30};
// The agent makes a socket for a container.
inline constexpr std::chrono::seconds kListenTime{10};
// The end of a machine: the agent's part, then the VMM's.
inline constexpr std::chrono::seconds kDestroySandboxTime{5};
inline constexpr std::chrono::seconds kMachineStopTime{10};

// --- calls ---

inline constexpr std::chrono::seconds kCallSlack{10};
// Exec, Kill, Pause, Resume, Stats: one call to the agent.
inline constexpr std::chrono::seconds kCallLimit = kAgentCallTime + kCallSlack;
// Hooks come on top.
inline constexpr std::chrono::seconds kStartLimit = kSettleTime + kAgentCallTime + kCallSlack;
// The agent brings online what was plugged in, and changes the container.
inline constexpr std::chrono::seconds kUpdateLimit = kGrowTime + 2 * kAgentCallTime + kCallSlack;
// Of a container that has stopped, or was never started: it is killed first.
inline constexpr std::chrono::seconds kDeleteLimit = 2 * kAgentCallTime + kPlugTime + kCallSlack;
inline constexpr std::chrono::seconds kShutdownLimit = kDestroySandboxTime + kMachineStopTime + kCallSlack;
// Also of a failed one, which is undone before the answer.
std::chrono::seconds CreateLimit(const config::Config& config, const oci::Hooks& hooks);

}  // namespace kata::sandbox
