// kata-runtime start
#include <optional>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/service_notify.h"
#include "sandbox/hooks.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kStandInEndTime{3};

Status Start(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  const std::string status = TRY(container.CurrentStatus());
  if (status == "stopped") {
    return StoppedError(Code::kFailedPrecondition, "cannot start a container that has stopped",
                        container.state());
  }
  if (status == "paused") {
    return Error(Code::kFailedPrecondition, "cannot start a container in the paused state");
  }
  if (status != "created") {
    return MakeError(Code::kFailedPrecondition, "cannot start an already {} container", status);
  }
  const oci::Hooks hooks = TRY(container.directory().ReadHooks());
  std::optional<ServiceManager> manager;
  if (const std::string address = NotifyAddress(); !address.empty()) {
    manager = TRY(ServiceManager::Connect(address));
  }
  Status started = container.server()->Start(id, "", sandbox::StartTimeLimit(hooks));
  if (started) {
    return manager ? PassReadyOn(*container.server(), id, *manager, container.state().shim.pid) : started;
  }
  // An engine deletes what it could not start at once, and can only if it has seen the process end.
  AwaitStandInEnd(container, kStandInEndTime);
  if (started.error().code() != Code::kAborted) return started;
  // "Stop the container, and continue the lifecycle" at its destruction (runtime specification).
  if (const Status removed = RemoveContainer(container); !removed) {
    log::LogError("cannot remove the container", {{"error", removed.error().message()}});
  }
  return started;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const StartOptions& options) {
  const Status started = Start(globals, options.id);
  if (!started) return ContainerError(globals, started.error(), "start", options.id);
  return 0;
}

}  // namespace kata::cli
