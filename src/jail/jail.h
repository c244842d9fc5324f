// The container set-up in the guest: from an OCI spec to a process that waits in its namespaces for "start".
//
// The agent (a program with threads) never forks into container code: it executes itself anew as
// `kata-agent init` (JailMain), single-threaded, from a sealed copy of the binary that a container cannot
// write to. The request travels in a sealed memfd, errors come back on a close-on-exec socket as Error
// values.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/accounts.h"
#include "oci/spec.h"

namespace kata::jail {

// A process's stdio as the jail inherits it, borrowed until the call returns. The descriptors are not used
// for a process with `terminal`, which opens a pseudo-terminal of the container's own devpts: its programs
// find it by name (ttyname(3)).
struct StdioFds {
  int stdin_fd = -1;  // -1: /dev/null
  int stdout_fd = -1;
  int stderr_fd = -1;
  bool plain_newlines = false;  // the terminal shows new lines as they are written, without a carriage return
};

struct CreateOptions {
  std::string container_id;
  std::string bundle;       // the bundle's directory as hooks are told
  std::string rootfs;       // absolute, in the caller's mount namespace
  std::string cgroup_path;  // below the cgroup2 mount, "/kata/<id>"; empty: no cgroup is made (tests without
                            // cgroup v2)
  std::string cgroup_root = "/sys/fs/cgroup";
  // Namespaces shared by the containers of a sandbox, joined instead of new ones of the same type (borrowed).
  int ipc_namespace_fd = -1;
  int uts_namespace_fd = -1;
  int pid_namespace_fd = -1;
  UserNames user_names;  // looked up in the container's files, over the process's user
  StdioFds stdio;
  bool enable_seccomp = true;
  // The executable to run as `<self> init`; /proc/self/exe by default. Tests name the built agent.
  std::string self_executable = "/proc/self/exe";
  Deadline deadline = Deadline::After(std::chrono::seconds(30));
};

struct ExecOptions {
  StdioFds stdio;
  // A cgroup below the container's, "/" for that itself. Empty: the container's own; where that has handed
  // its controllers on to children, and therefore takes no processes, init's.
  std::string cgroup;
  UserNames user_names;  // as for Create
  bool enable_seccomp = true;
  std::string self_executable = "/proc/self/exe";
  Deadline deadline = Deadline::After(std::chrono::seconds(30));
};

struct StartedProcess {
  ChildProcess process;
  UniqueFd terminal;  // the master; invalid without a terminal
};

// A container whose gate is open, but whose program does not run yet.
struct StartingProgram {
  UniqueFd answer;  // readable when it is clear whether it does
  Deadline deadline;
};

// One container: its init process (held at the gate until Start), its cgroup, its namespaces by fd.
// Not thread safe. Destruction kills what still runs in the container and removes the cgroup.
class Container {
 public:
  // Sets everything up to, not including, the execve of process.args; the program to execute is looked up and
  // checked already, so that a missing binary, one that is not executable, or a bad cwd fails here with its
  // cause, e.g. "execute 'nosuch': executable file not found in $PATH" (kNotFound).
  static Result<std::unique_ptr<Container>> Create(const oci::Spec& spec, const CreateOptions& options);
  ~Container();

  // Opens the gate: init runs the startContainer hooks, then executes the program. kFailedPrecondition if
  // started before. Errors of hooks and execve arrive here; init has ended then. Blocks as long as the hooks
  // run.
  Status Start();
  // The same in two steps that do not block. Between them the caller waits for the answer until its deadline.
  Result<StartingProgram> BeginStart();
  Status FinishStart();

  // Another process in the container's namespaces and cgroup, with init's capabilities and umask where it has
  // none of its own. Runs at once. kInvalidArgument for a cgroup
  // that is not below the container's, kNotFound for one that does not exist.
  Result<StartedProcess> Exec(const oci::Process& process, const ExecOptions& options);

  pid_t init_pid() const;
  // Readable when init has ended. The owner of this object reaps init by TakeInit().
  int init_pidfd() const;
  // Hands the init process to the caller (the agent's reaper), who must reap it.
  ChildProcess TakeInit();
  // Hands over the master of init's terminal; invalid without a terminal.
  UniqueFd TakeTerminal();

  // cgroup.freeze; blocks until the kernel reports it done or the deadline passes.
  Status Pause(Deadline deadline);
  Status Resume(Deadline deadline);
  // A signal to every process of the container while all stand still, so that none is born past it. A paused
  // container stays so. Without a cgroup to init alone. Blocks for seconds at most.
  Status SignalAll(int signal);
  // Applies limits to the cgroup; absent members are left as they are.
  Status Update(const oci::Resources& resources);
  // The cgroup's directory, empty when none was made.
  const std::string& cgroup_directory() const;

  class Impl;

 private:
  explicit Container(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// main() of `kata-agent init`. Never returns to the caller's program: ends in execve or _exit.
[[noreturn]] void JailMain();

// Whether this build and kernel can filter system calls.
bool SeccompSupported();

}  // namespace kata::jail
