// kata-runtime state
#include "cli/commands.h"
#include "cli/container_json.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

Result<ContainerView> StateOf(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  return ViewContainer(container);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const StateOptions& options) {
  const ContainerView view = TRY_CTX(StateOf(globals, options.id), "state of container '{}'", options.id);
  // Without a line end, as runc's.
  TRY(WriteStdout(DumpJson(ToJson(view), 2)));
  return 0;
}

}  // namespace kata::cli
