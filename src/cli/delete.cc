// kata-runtime delete
#include <csignal>
#include <optional>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/program.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kKillTimeout{15};

// Kills the container if it runs, and lets the server remove it. What does not work here is done by force
// afterwards; so a server that does not answer is not asked again.
Status DeleteInServer(Container& container, bool running) {
  TaskClient& server = *container.server();
  Status killed = running ? server.Kill(container.id(), SIGKILL, /*all=*/true) : Status();
  if (!killed && killed.error().code() == Code::kDeadlineExceeded) return killed;
  if (running && killed) killed = server.Wait(container.id(), kKillTimeout);
  if (!killed) log::Debug("cannot kill the container in the guest", {{"error", killed.error().message()}});
  return server.Delete(container.id());
}

bool HasLostStandIn(Container& container) {
  const sandbox::ProcessId& shim = container.state().shim;
  return container.server() != nullptr && shim.pid != 0 && !sandbox::IsAlive(shim);
}

Status Delete(const GlobalOptions& globals, const std::string& id, bool force) {
  Result<Container> opened = Container::Open(globals, id, /*for_removal=*/force);
  if (!opened) {
    if (force && opened.error().code() == Code::kNotFound) return {};
    return std::move(opened).error();
  }
  Container& container = *opened;
  Result<std::string> status = container.CurrentStatus();
  if (status && *status != "stopped" && !force && HasLostStandIn(container)) {
    // Who has killed kata-shim takes the container for dead, and the server is about to see to that. Where
    // the guest does not let go of it, nobody would come again for what is left.
    (void)container.server()->Wait(id, kKillTimeout);
    status = container.CurrentStatus();
    if (!status || *status != "stopped") {
      // Of a pod's machine, which goes on, the server has to take it.
      if (!container.state().OwnsServer()) (void)container.server()->Delete(id);
      return RemoveContainer(container);
    }
  }
  if (!status && !force) return status.error();
  if (status && *status != "stopped" && *status != "created" && !force) {
    return MakeError(Code::kFailedPrecondition, "cannot delete container {} that is not stopped: {}", id,
                     *status);
  }
  if (container.server() != nullptr) {
    const Status deleted = DeleteInServer(container, /*running=*/!status || *status != "stopped");
    if (!deleted)
      log::Debug("the sandbox server cannot delete the container", {{"error", deleted.error().message()}});
  }
  return RemoveContainer(container);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const DeleteOptions& options) {
  // All are tried; the last failure is the command's, the others are told at once.
  std::optional<Error> failure;
  for (const std::string& id : options.ids) {
    Status deleted = Delete(globals, id, options.force);
    if (deleted) continue;
    if (failure) ReportError(globals, *failure);
    failure = std::move(deleted).error().Wrap(fmt::format("delete container '{}'", id));
  }
  if (failure) return *failure;
  return 0;
}

}  // namespace kata::cli
