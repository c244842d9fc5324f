// The file that tells an engine the pid of a container's process. Its existence means "created", so it is
// written last and appears complete.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace kata::cli {

// Whether a pid file could be written at `path`, asked before anything expensive is done. Empty: none is
// wanted.
Status CheckPidFile(const std::string& path);

// Empty path: nothing.
Status WritePidFile(const std::string& path, pid_t pid);

// Sends a pidfd (borrowed) to whoever listens on the unix socket at `socket_path`; empty path: nothing.
Status SendPidfd(const std::string& socket_path, int pidfd);

}  // namespace kata::cli
