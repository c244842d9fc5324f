// Starting the two programs behind a container: the sandbox server and kata-shim.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cgroup/host_cgroup.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "linux/namespaces.h"
#include "oci/spec.h"
#include "sandbox/attach.h"
#include "sandbox/state_directory.h"

namespace kata::cli {

// Where a program of this installation is: beside this one, where `cmake --install` puts it, else in PATH.
// kNotFound names all places.
Result<std::string> FindProgram(const std::string& name);

// containerd-shim-kata-v2 for one sandbox. Killed on destruction unless detached.
class SandboxServer {
 public:
  // Listens on the directory's sockets and starts the server with them. `config_file`: what the server reads.
  // `oom_score_adj`: of the sandbox's first container; the VMM and its helpers take it from the server.
  static Result<SandboxServer> Start(const sandbox::StateDirectory& directory, const std::string& config_file,
                                     const std::optional<int64_t>& oom_score_adj,
                                     const GlobalOptions& globals);

  pid_t pid() const { return process_.pid(); }
  int pidfd() const { return process_.pidfd(); }
  int stderr_fd() const { return stderr_.get(); }

  // Reads what the server has written to its stderr so far; never waits. Its log records go to this program's
  // stderr where that is the log.
  void ReadStderr();
  // `error` of a call to the server; if the server ends within `grace`, that and its last words in front of
  // it.
  Error Explain(Error error, std::chrono::milliseconds grace);
  // Until it has ended by itself, after `grace` by force.
  void AwaitEnd(std::chrono::milliseconds grace);
  // From now on it lives on without this program, and may not write to its stderr any more.
  void Detach();

 private:
  SandboxServer(ChildProcess process, UniqueFd stderr_fd, bool show_records)
      : process_(std::move(process)), stderr_(std::move(stderr_fd)), show_records_(show_records) {}
  void TakeLine(std::string_view line);
  std::string LastWords();

  ChildProcess process_;
  UniqueFd stderr_;
  bool show_records_;
  std::string line_;   // the beginning of one whose end has not come
  std::string words_;  // the last part of what came from stderr, without log records
};

// kata-shim, and our end of its channel, which goes to the sandbox server.
struct StandIn {
  ChildProcess process;
  UniqueFd channel;
};

// Where kata-shim lives (borrowed).
struct StandInPlace {
  const linux::NamespaceFd& network_namespace;
  const cgroup::HostCgroup& cgroup;
  const linux::NamespaceFd& mounts;
  const linux::NamespaceFd& users;  // not valid: this process's own
  pid_t init = 0;  // kata-shim of the container's init, whose pid namespace it shares; 0: it is that
};

// Starts kata-shim in `place`, in a session of its own, with `stdio` if that is a terminal. Lists of
// processes show the command line of `process`, for which it stands, and its OOM score is that one's; its
// environment names the container. `die_with_us`: it is killed when this program ends, however that happens;
// else it is left to the engine.
Result<StandIn> StartStandIn(const std::string& id, const std::string& exec_id, const oci::Process& process,
                             const Stdio& stdio, const StandInPlace& place, bool die_with_us);

// What the sandbox server is to be told of `stand_in`, whose channel it takes, and of `stdio`, of which it
// has copies.
Result<sandbox::AttachRequest> MakeAttachRequest(const std::string& id, const std::string& exec_id,
                                                 StandIn& stand_in, const Stdio& stdio);

}  // namespace kata::cli
