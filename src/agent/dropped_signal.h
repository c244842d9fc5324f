// Signals that never arrive: those to the first process of a pid namespace (pid_namespaces(7)).
#pragma once

#include <sys/types.h>

#include <string_view>

namespace kata::agent {

// Whether the kernel would drop `signal` to process `pid`, because that is the first one of a pid namespace
// and neither has a handler for it nor holds it back to take it by itself (sigwait(3), signalfd(2)). One that
// the process ignores, which is its own decision, does not count. False where that cannot be told. May wait
// for as long as the process does in execve(2).
bool DropsSignal(pid_t pid, int signal);

// The same by the text of /proc/<pid>/status and of /proc/<pid>/syscall before and after it was read.
bool DropsSignal(std::string_view syscall_before, std::string_view status, std::string_view syscall_after,
                 int signal);

}  // namespace kata::agent
