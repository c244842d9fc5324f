// kata-runtime delete
#include <csignal>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/container.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kKillTimeout{15};

// Kills the container and waits for its end. What does not work here is done by force when it is removed.
void KillInit(Container& container) {
  TaskClient& server = *container.server();
  Status status = server.Kill(container.id(), SIGKILL, /*all=*/true);
  if (status) status = server.Wait(container.id(), kKillTimeout);
  if (!status) log::Debug("cannot kill the container in the guest", {{"error", status.error().message()}});
}

Status Delete(const GlobalOptions& globals, const DeleteOptions& options) {
  Result<Container> opened = Container::Open(globals, options.id);
  if (!opened) {
    if (options.force && opened.error().code() == Code::kNotFound) return {};
    return std::move(opened).error();
  }
  Container& container = *opened;
  const Result<std::string> status = container.CurrentStatus();
  if (!status && !options.force) return status.error();
  if (status && *status != "stopped" && *status != "created" && !options.force) {
    return MakeError(Code::kFailedPrecondition, "cannot delete a container that is not stopped: it is {}",
                     *status);
  }
  if (container.server() != nullptr) {
    if (!status || *status != "stopped") KillInit(container);
    const Status deleted = container.server()->Delete(options.id);
    if (!deleted)
      log::Debug("the sandbox server cannot delete the container", {{"error", deleted.error().message()}});
  }
  return RemoveContainer(container);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const DeleteOptions& options) {
  TRY_CTX(Delete(globals, options), "delete container '{}'", options.id);
  return 0;
}

}  // namespace kata::cli
