// A running VMM: started from a plan, watched, its stderr and the guest's console kept for error texts,
// ended.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/line_tail.h"
#include "base/result.h"
#include "hypervisor/driver.h"
#include "hypervisor/vm_spec.h"

namespace kata::hypervisor {

// Thread safe.
class Vm {
 public:
  struct Options {
    // Called once on the loop thread when the VMM is gone without Stop() having been asked for; `reason` is
    // one line: exit status, last line of stderr, tail of the guest console (a kernel panic line if there is
    // one). A VMM that has stopped the guest for good is ended, too.
    std::function<void(std::string reason)> on_exit;
    // Called on the loop thread for each line of the guest console.
    LineCallback on_console_line;
    // The same for what the VMM says: lines of its stderr, errors that it tells over its control channel.
    LineCallback on_vmm_line;
    // A listening socket whose connections see the console and type into it (console_socket.h); -1: none
    // (borrowed).
    int console_listener_fd = -1;
    std::vector<int> namespace_fds;     // joined by the VMM before exec (borrowed)
    std::vector<int> cgroup_procs_fds;  // (borrowed)
  };
  // Starts the VMM and connects its control channel. The VMM dies with this process (PR_SET_PDEATHSIG), also
  // when that is killed. Blocking; call it from a thread that lives as long as the VM and not from the loop
  // thread. A failure carries the VMM's last words: "start qemu: exit status 1: qemu-system-x86_64: -kernel:
  // No such file".
  static Result<std::unique_ptr<Vm>> Start(EventLoop& loop, const Driver& driver, const VmSpec& spec,
                                           Options options, Deadline deadline);
  ~Vm();  // Stop with a short deadline

  VmControl& control();
  pid_t pid() const;
  bool running() const;
  // The cause to put behind an error of somebody who waited for the guest: what is known of the VMM's end,
  // its stderr, or the last lines of the guest's console. One line, bounded, control characters removed (the
  // guest wrote it); empty when there is nothing to say.
  std::string LastWords() const;
  // Quit, then SIGKILL; reaps. Idempotent. Blocking.
  Status Stop(Deadline deadline);

  class Impl;

 private:
  explicit Vm(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata::hypervisor
