// kata-runtime update
#include <unistd.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "oci/json.h"

namespace kata::cli {
namespace {

Result<oci::Resources> ReadResources(const std::string& file) {
  const std::string name = file == "-" ? "standard input" : fmt::format("'{}'", file);
  const std::string text =
      TRY_CTX(file == "-" ? ReadFd(STDIN_FILENO, oci::kMaxConfigBytes) : ReadFile(file, oci::kMaxConfigBytes),
              "read resources");
  return TRY_CTX(oci::ParseResources(text), "read resources from {}", name);
}

Status Update(const GlobalOptions& globals, const UpdateOptions& options) {
  Container container = TRY(Container::Open(globals, options.id));
  const oci::Resources resources =
      options.resources_file.empty() ? options.resources : TRY(ReadResources(options.resources_file));
  TRY(oci::Validate(resources));
  const std::string status = TRY(container.CurrentStatus());
  if (status == "stopped" || container.server() == nullptr)
    return StoppedError(Code::kFailedPrecondition, "container not running", container.state());
  return container.server()->Update(options.id, resources);
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const UpdateOptions& options) {
  const Status updated = Update(globals, options);
  if (!updated) return ContainerError(globals, updated.error(), "update", options.id);
  return 0;
}

}  // namespace kata::cli
