// The commands of runc that this version does not have.
#include "cli/commands.h"

namespace kata::cli {

Result<int> Execute(const GlobalOptions&, const UnavailableOptions& options) {
  return MakeError(Code::kUnimplemented, "{}: not available in this version", options.command);
}

}  // namespace kata::cli
