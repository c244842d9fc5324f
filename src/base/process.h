// Starting and ending child processes: Command describes one, ChildProcess owns it by pidfd.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata {

// Where programs are looked up by whoever has no PATH.
inline constexpr std::string_view kDefaultSearchPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct ExitStatus {
  int code = 0;    // of exit(), when signal is 0
  int signal = 0;  // that ended the process
  // As a shell and an OCI engine count: code, or 128 + signal.
  int ShellCode() const { return signal != 0 ? 128 + signal : code; }
  std::string Describe() const;  // "exit status 3", "signal 9 (killed)"
};

// A child of this process. Killed (SIGKILL) and reaped on destruction unless waited for or detached.
// Not thread safe.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable when the process has ended
  bool valid() const { return pidfd_.valid(); }

  Status Signal(int signal) const;
  // Reaps; kDeadlineExceeded when it still runs. After success the object is empty.
  Result<ExitStatus> Wait(Deadline deadline);
  // Reaps if it has ended, else nullopt.
  Result<std::optional<ExitStatus>> TryWait();
  // SIGTERM, after `grace` SIGKILL; reaps.
  Result<ExitStatus> Terminate(std::chrono::milliseconds grace);
  // Gives up ownership: nobody reaps it here any more.
  pid_t Detach();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

// What to execute, and exactly what it inherits: stdio as said here, the listed descriptors, nothing else.
struct Command {
  std::string program;            // an absolute path or, with '/' absent, looked up in PATH
  std::vector<std::string> args;  // without argv[0]
  std::optional<std::string> argv0;
  std::optional<std::vector<std::string>> environment;  // "K=V"; unset: this process's own
  std::string working_directory;                        // empty: inherited

  // -1: /dev/null. Borrowed until Spawn returns.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  // Child's descriptor number -> ours (borrowed). Numbers 3 and above.
  std::map<int, int> inherited_fds;

  bool new_session = false;
  int controlling_tty_fd = -1;     // made the controlling terminal; needs new_session
  int parent_death_signal = 0;     // PR_SET_PDEATHSIG; follows the *thread* that calls Spawn (prctl(2))
  std::vector<int> namespace_fds;  // setns(2), in this order, before exec (borrowed); not for pid namespaces
  bool new_pid_namespace = false;  // it is the first process of one
  int pid_namespace_fd = -1;       // it is born in this one (borrowed)
  std::vector<int> cgroup_procs_fds;  // open cgroup.procs files; the child writes "0" into each
  bool reset_signals = true;          // default dispositions and an empty mask
  bool allow_core_dump = false;
  // When it changes its user id it keeps its capabilities (SECBIT_NO_SETUID_FIXUP, capabilities(7)), if this
  // process has the right to say so.
  bool keep_capabilities = false;

  // For messages and logs: the command line, quoted for a shell.
  std::string Describe() const;
};

// Raises this process's own limit of open descriptors to the highest that it may have. Programs that are
// started later get the limit that it had before: some take a high one for a reason to close, or to make room
// for, that many descriptors. Once, before the first Spawn.
Status RaiseDescriptorLimit();

// Starts `command`. A failure of any step in the child up to execve is returned here with its errno
// ("execute '/bin/x': No such file or directory").
Result<ChildProcess> Spawn(const Command& command);

// Opens a pidfd for a process that is not our child (pidfd_open(2)); kNotFound when there is none.
Result<UniqueFd> OpenPidfd(pid_t pid);
Status SignalPidfd(int pidfd, int signal);
// The start time of a process in clock ticks since boot (/proc/<pid>/stat field 22): with the pid it names a
// process uniquely, also in a file that is read later.
Result<unsigned long long> ProcessStartTime(pid_t pid);
// The letter of its state (field 3): 'Z' for a zombie, 'T' or 't' for one that a signal or a debugger has
// stopped.
Result<char> ProcessState(pid_t pid);

}  // namespace kata
