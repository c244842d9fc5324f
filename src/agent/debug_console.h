// The debug console: a shell of the guest's image, on a terminal of its own for each connection.
#pragma once

#include <string>

#include "agent/reaper.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::agent {

// Loop thread only.
class DebugConsole {
 public:
  // Both borrowed; they must outlive the connections.
  DebugConsole(EventLoop& loop, Reaper& reaper) : loop_(loop), reaper_(reaper) {}

  // kUnimplemented when the guest has none, as one that was started from the agent's own initrd.
  static Result<std::string> FindShell();

  // Runs a shell until it or the connection ends, whichever is first; the other is ended then.
  Status Serve(UniqueFd connection);

 private:
  EventLoop& loop_;
  Reaper& reaper_;
};

}  // namespace kata::agent
