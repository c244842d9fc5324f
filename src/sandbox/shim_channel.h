// ShimChannel: the server's end of the channel to a kata-shim (base/shim_message.h).
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/fd_watcher.h"

namespace kata::sandbox {

// Everything on the loop thread.
class ShimChannel {
 public:
  struct Handlers {
    std::function<void(int signal)> on_signal;
    std::function<void(uint32_t rows, uint32_t columns)> on_window_size;
    // kata-shim has ended without having been told to: somebody has killed it.
    std::function<void()> on_gone;
  };

  // `watcher` is borrowed.
  ShimChannel(FdWatcher& watcher, UniqueFd socket, Handlers handlers);

  // Begins to call the handlers.
  Status Start();
  // Tells kata-shim to end with `code`; no handler is called any more.
  void SendExit(int code);

 private:
  Status WaitForMessage();
  void OnReadable();

  FdWatcher& watcher_;
  UniqueFd socket_;
  FdWatcher::Watch watch_;
  Handlers handlers_;
};

}  // namespace kata::sandbox
