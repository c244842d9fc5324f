// Patience: for how long a guest that was up may be silent.
//
// A guest that hangs closes no connection; only the lack of an answer shows it. A merely slow one, on a host
// that emulates its processors or is short of them, must not be taken for it.
#pragma once

#include <chrono>

#include "sandbox/time_limits.h"

namespace kata::sandbox {

struct Patience {
  std::chrono::milliseconds check_interval{30'000};  // from an answer to the next question
  std::chrono::milliseconds check{60'000};           // two questions in a row without an answer: it hangs
  // To SIGKILL for all that runs in it: that shall end, with the machine if it must.
  std::chrono::milliseconds kill{10'000};
  // From the answer to that until the processes have ended. Longer, as the kernel is at work on it: it frees
  // the memory of a large one, and waits for what one has begun to read or write on a volume.
  std::chrono::milliseconds dying{60'000};
  std::chrono::milliseconds settle{kSettleTime};  // until it has the container's network, before a start
};

}  // namespace kata::sandbox
