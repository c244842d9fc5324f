// The terminal of a container's process.
#pragma once

#include <optional>

#include "base/result.h"
#include "linux/terminal.h"
#include "oci/spec.h"

namespace kata::jail {

// A pseudo-terminal of the devpts at /dev/pts below `root_fd`, with the window size that the process asks
// for. kFailedPrecondition if something else is mounted there.
Result<linux::PtyPair> OpenTerminal(int root_fd, const std::optional<oci::ConsoleSize>& size);

// Binds the slave on /dev/console below `root_fd`.
Status AttachConsole(int root_fd, int slave_fd);

// Makes `slave_fd` (borrowed) the process's standard streams.
Status UseAsStdio(int slave_fd);

}  // namespace kata::jail
