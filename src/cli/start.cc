// kata-runtime start
#include "cli/commands.h"
#include "cli/container.h"

namespace kata::cli {
namespace {

Status Start(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  const std::string status = TRY(container.CurrentStatus());
  if (status == "stopped") {
    return Error(Code::kFailedPrecondition, "cannot start a container that has stopped");
  }
  if (status != "created") {
    return MakeError(Code::kFailedPrecondition, "cannot start an already {} container", status);
  }
  return container.server()->Start(id);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const StartOptions& options) {
  const Status started = Start(globals, options.id);
  if (!started) return ContainerError(started.error(), "start", options.id);
  return 0;
}

}  // namespace kata::cli
