// kata-runtime pause and resume
#include "cli/commands.h"
#include "cli/container.h"

namespace kata::cli {
namespace {

Status Pause(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  const std::string status = TRY(container.CurrentStatus());
  if (status != "running" && status != "created") {
    return MakeError(Code::kFailedPrecondition, "container not running: it is {}", status);
  }
  return container.server()->Pause(id);
}

Status Resume(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  const std::string status = TRY(container.CurrentStatus());
  if (status != "paused")
    return MakeError(Code::kFailedPrecondition, "container not paused: it is {}", status);
  return container.server()->Resume(id);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const PauseOptions& options) {
  const Status paused = Pause(globals, options.id);
  if (!paused) return ContainerError(globals, paused.error(), "pause", options.id);
  return 0;
}

Result<int> Execute(const GlobalOptions& globals, const ResumeOptions& options) {
  const Status resumed = Resume(globals, options.id);
  if (!resumed) return ContainerError(globals, resumed.error(), "resume", options.id);
  return 0;
}

}  // namespace kata::cli
