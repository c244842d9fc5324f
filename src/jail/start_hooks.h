// Hooks that run inside of the container when it is started, before its program.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/spec.h"

namespace kata::jail {

// Runs the hooks one after the other as children of this single-threaded process, in its root and working
// directory, with the file `state` as their stdin and their own environment alone, where they have none with
// `environment`, that of the container's program. Each child calls `assume` last before it executes the hook,
// to become what the program will be. The first hook that cannot be
// executed, does not end with status 0, or exceeds its timeout (it is killed) makes the error, with what it
// wrote: "error running hook: hooks.startContainer[0]: '/bin/prepare': exit status 3: no such table".
Status RunStartHooks(const std::vector<oci::Hook>& hooks, const std::vector<std::string>& environment,
                     const UniqueFd& state, const std::function<Status()>& assume);

}  // namespace kata::jail
