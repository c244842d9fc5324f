// What PID 1 does before anything else: root file system, early mounts, control groups, loopback.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kata::agent {

// Whether this process belongs to the machine itself, not to a container. False where /proc does not tell.
bool InInitialPidNamespace();

// Whether this process is the first one of a machine (not of a pid namespace).
bool IsGuestInit();

// From the bare initrd, or from an image whose root file system is read-only, to a system in which containers
// can be set up. An error means that none can; what merely lacks is returned as one line each, for the log.
Result<std::vector<std::string>> BootGuest();

// Puts the agent into a cgroup of its own with a reserve of memory and CPU time that containers cannot take,
// and makes the OOM killer spare it. One line for each thing that did not work.
std::vector<std::string> ProtectAgent(const std::string& cgroup_root, bool allow_core_dump);

// Ends the virtual machine. Bounded: what a dead host keeps from being written is not waited for.
[[noreturn]] void PowerOff();

// PID 1 must not end, which is a kernel panic: a fatal signal is told to the kernel log and the machine
// powered off.
void HandleCrashes();

// One line to the kernel's log, which reaches the console whatever state the agent is in.
void WriteKernelLog(const std::string& line);

}  // namespace kata::agent
