// The commands of runc that a virtual machine cannot have.
#include "cli/commands.h"

namespace kata::cli {

Result<int> Execute(const GlobalOptions&, const UnavailableOptions& options) {
  return MakeError(
      Code::kUnimplemented,
      "{}: not available: the processes of a container are in a virtual machine, out of reach of "
      "CRIU",
      options.command);
}

}  // namespace kata::cli
