// The hooks of config.json that run on the host: programs that an engine wants to have run at points of a
// container's life.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/json.h"
#include "oci/spec.h"

namespace kata::sandbox {

struct HookRun {
  std::string_view point;  // "prestart", for messages
  oci::State state;        // written to the hook's stdin
  std::string working_directory;
  std::vector<int> namespace_fds;  // that the hooks run in instead of this process's (borrowed)
  int cancel_fd = -1;              // readable: nobody wants the result any more (borrowed)
};

// Runs `hooks` one after the other and stops at the first that fails: that cannot be executed, ends with
// another exit code than 0, or does not end in its time; it is killed then. The error names it and has the
// end of its output. kCancelled when told so by `cancel_fd`. Blocking. REQUIRES: SIGPIPE is ignored.
Status RunHooks(const std::vector<oci::Hook>& hooks, const HookRun& run);

// What the hooks of a start take at most.
std::chrono::seconds StartTimeLimit(const oci::Hooks& hooks);

}  // namespace kata::sandbox
