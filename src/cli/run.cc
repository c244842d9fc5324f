// kata-runtime run
#include "base/log.h"
#include "cli/commands.h"
#include "cli/new_container.h"

namespace kata::cli {
namespace {

Result<int> RunDetached(const GlobalOptions& globals, const NewContainerRequest& request) {
  SignalQueue signals = TRY(SignalQueue::ForEnding());
  const std::unique_ptr<NewContainer> container = TRY(NewContainer::Create(globals, request, signals));
  TRY(container->Start());
  TRY(container->Release());
  return 0;
}

Result<int> RunInForeground(const GlobalOptions& globals, const NewContainerRequest& request, bool keep) {
  SignalQueue signals = TRY(SignalQueue::ForForwarding());
  const std::unique_ptr<NewContainer> container = TRY(NewContainer::Create(globals, request, signals));
  const int exit_code = TRY(container->ServeToEnd());
  const Status removed = keep ? container->Keep() : container->Remove();
  // The exit code belongs to the container, so this failure can only be told.
  if (!removed) log::LogError("the container's end failed", {{"error", removed.error().message()}});
  return exit_code;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const RunOptions& options) {
  const NewContainerRequest request{options.id, options.bundle, options.stdio};
  return TRY_CTX(
      options.stdio.detach ? RunDetached(globals, request) : RunInForeground(globals, request, options.keep),
      "run container '{}'", options.id);
}

}  // namespace kata::cli
