// The guest as a whole: its memory blocks, clock, random number generator.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace kata::agent {

// Bytes of a block of hot-pluggable memory, 0 where the kernel has no memory hotplug.
Result<uint64_t> MemoryBlockSize();
// Whether the kernel has to be told where hot-plugged memory is.
bool MemoryProbeSupported();

Status SetClock(int64_t seconds, int64_t microseconds);

// Mixes `entropy` into the kernel's generator, credits it, and has the generator reseed itself at once
// (random(4)).
Status ReseedRandom(std::string_view entropy);

}  // namespace kata::agent
