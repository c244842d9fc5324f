// kata-runtime state
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/stdout.h"
#include "oci/json.h"

namespace kata::cli {
namespace {

Result<oci::State> StateOf(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  oci::State state;
  state.status = TRY(container.CurrentStatus());
  state.oci_version = container.state().oci_version;
  state.id = id;
  state.pid = state.status == "stopped" ? 0 : container.state().shim.pid;
  state.bundle = container.state().bundle;
  state.annotations = container.state().annotations;
  return state;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const StateOptions& options) {
  const oci::State state = TRY_CTX(StateOf(globals, options.id), "state of container '{}'", options.id);
  TRY(WriteStdout(oci::ToJson(state)));
  return 0;
}

}  // namespace kata::cli
