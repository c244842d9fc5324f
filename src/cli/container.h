// A container that exists: its directory, its state, its sandbox server if that still runs.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/task_client.h"
#include "sandbox/state_directory.h"

namespace kata::cli {

class Container {
 public:
  // kNotFound: "container 'ID': container does not exist". A container whose state cannot be read is opened
  // too: it can be deleted. `for_removal`: also one whose server takes no connection, as if it had none; who
  // removes it ends that by force.
  static Result<Container> Open(const GlobalOptions& globals, const std::string& id,
                                bool for_removal = false);

  const sandbox::StateDirectory& directory() const { return directory_; }
  // Of the sandbox that the container is in: where the server's sockets are.
  const sandbox::StateDirectory& server_directory() const { return server_directory_; }
  const std::string& id() const { return directory_.id(); }
  // As it was when the container was opened; empty members if it cannot be read.
  const sandbox::ContainerState& state() const { return state_; }
  // nullptr when no server runs, or none that can be spoken to.
  TaskClient* server() { return server_.get(); }
  // Leaves the server to others.
  void Disconnect() { server_.reset(); }

  // "creating", "created", "running", "paused", "stopped": what the server says, or is recorded while it does
  // not answer; without a server it is stopped, unless its creator has not come as far.
  Result<std::string> CurrentStatus();

 private:
  Container(sandbox::StateDirectory directory, sandbox::StateDirectory server_directory,
            sandbox::ContainerState state, std::unique_ptr<TaskClient> server)
      : directory_(std::move(directory)),
        server_directory_(std::move(server_directory)),
        state_(std::move(state)),
        server_(std::move(server)) {}

  sandbox::StateDirectory directory_;
  sandbox::StateDirectory server_directory_;
  sandbox::ContainerState state_;
  std::unique_ptr<TaskClient> server_;
};

// Why a container that has stopped has done so, when that was not its own doing; else empty.
std::string StopReason(const sandbox::ContainerState& state);
// "TEXT", or "TEXT: REASON", for a command that a container which has stopped does not take.
Error StoppedError(Code code, std::string_view text, const sandbox::ContainerState& state);

// Whether a container has stopped as far as that shows without a connection to its server. For those that
// have lost theirs.
bool HasStopped(const GlobalOptions& globals, const std::string& id);

// `error` of a command on a container: "VERB container 'ID': ..." and, for one that has stopped meanwhile,
// the words by which engines recognize that.
Error ContainerError(const GlobalOptions& globals, Error error, const std::string& verb,
                     const std::string& id);

// Waits until kata-shim of the container's init has ended, `timeout` at most, and has been seen to by its
// parent.
void AwaitStandInEnd(const Container& container, std::chrono::milliseconds timeout);

// Ends the container's server and whatever it has left behind, removes the directory and runs the poststop
// hooks. The container's processes must not matter any more. Idempotent; waits for each step with a deadline
// and goes on by force.
Status RemoveContainer(Container& container);

}  // namespace kata::cli
