// The debug console: a shell of the guest's image, on a terminal of its own for each connection, or on the
// guest's console.
#pragma once

#include <asio/steady_timer.hpp>
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
  DebugConsole(EventLoop& loop, Reaper& reaper) : loop_(loop), reaper_(reaper), pause_(loop.context()) {}

  // kUnimplemented when the guest has none, as one that was started from the agent's own initrd.
  static Result<std::string> FindShell();

  // Runs a shell until it or the connection ends, whichever is first; the other is ended then.
  Status Serve(UniqueFd connection);

  // Runs a shell on the terminal `path`, and another one when that has ended.
  Status ServeTerminal(const std::string& path);

 private:
  // A shell in a session of its own on `terminal_fd`, which is borrowed.
  Result<ChildProcess> StartShell(int terminal_fd);

  EventLoop& loop_;
  Reaper& reaper_;
  asio::steady_timer pause_;
};

}  // namespace kata::agent
