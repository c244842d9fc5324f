// The stdio of a container's process: this program's own, or a terminal whose master an engine or this
// program holds.
#pragma once

#include <optional>
#include <string>

#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/signal_queue.h"
#include "linux/terminal.h"
#include "oci/spec.h"

namespace kata::cli {

// What the process gets. With a terminal all three are its slave.
struct Stdio {
  bool terminal = false;
  UniqueFd in, out, err;
  UniqueFd master;  // of a terminal that this program serves itself; else none
};

// Whether the flags fit the process, by runc's rules: what is detached gets a terminal only through a console
// socket, and a console socket is for nothing else.
Status CheckTerminal(bool terminal, const StdioOptions& options);

// Opens the stdio for a process that passed CheckTerminal. A terminal's master is sent to the console socket
// or, in the foreground, kept.
Result<Stdio> OpenStdio(const oci::Process& process, const StdioOptions& options);

// Stays in the foreground of `process` (kata-shim): passes signals on, with a terminal also what is typed and
// shown, until the process has ended, and returns its exit code. The master is closed then.
Result<int> ServeForeground(ChildProcess& process, SignalQueue& signals, Stdio stdio);

}  // namespace kata::cli
