// Upper bounds on what one specification may hold, whichever way it arrives.
#pragma once

#include <cstddef>

namespace kata::oci {

inline constexpr size_t kMaxJsonDepth = 64;
// Every value in a document, scalars included; keeps the parsed form within a small multiple of the text's
// size.
inline constexpr size_t kMaxJsonValues = 1u << 20;
// Entries of a list or map of objects (mounts, devices, rules ...).
inline constexpr size_t kMaxObjects = 16384;

// Names and values together. They are kept with the container's state; Kubernetes takes a quarter of it.
inline constexpr size_t kMaxAnnotationsBytes = 1u << 20;

// The kernel's limits of execve(2): one string, and all of argv and envp with their pointers (3/4 of
// _STK_LIM), which it further lowers to a quarter of RLIMIT_STACK.
inline constexpr size_t kMaxArgumentBytes = 32 * 4096;  // NOLINT(bugprone-*)
inline constexpr size_t kMaxArgumentsBytes = 6u << 20;
// HOST_NAME_MAX of <linux/limits.h>: sethostname(2) and setdomainname(2) take no more.
inline constexpr size_t kMaxNodeNameBytes = 64;
// NGROUPS_MAX of <linux/limits.h>.
inline constexpr size_t kMaxAdditionalGids = 65536;

}  // namespace kata::oci
