// kata-runtime ps
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

Result<std::vector<pid_t>> Pids(const GlobalOptions& globals, const PsOptions& options) {
  if (options.format != "json") {
    return Error(Code::kInvalidArgument,
                 "only --format json is available in this version: the processes are in the virtual machine, "
                 "'kata-runtime exec' can run ps there");
  }
  Container container = TRY(Container::Open(globals, options.id));
  if (container.server() == nullptr) return Error(Code::kFailedPrecondition, "container not running");
  return container.server()->Pids(options.id);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const PsOptions& options) {
  Result<std::vector<pid_t>> pids = Pids(globals, options);
  if (!pids) return ContainerError(std::move(pids).error(), "list processes of", options.id);
  TRY(WriteStdout(fmt::format("[{}]\n", fmt::join(*pids, ","))));
  return 0;
}

}  // namespace kata::cli
