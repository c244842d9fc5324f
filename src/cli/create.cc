// kata-runtime create
#include "cli/commands.h"
#include "cli/new_container.h"

namespace kata::cli {

Result<int> Execute(const GlobalOptions& globals, const CreateOptions& options) {
  SignalQueue signals = TRY(SignalQueue::ForEnding());
  const NewContainerRequest request{options.id, options.bundle, options.stdio};
  const std::unique_ptr<NewContainer> container =
      TRY_CTX(NewContainer::Create(globals, request, signals), "create container '{}'", options.id);
  TRY_CTX(container->Release(), "create container '{}'", options.id);
  return 0;
}

}  // namespace kata::cli
