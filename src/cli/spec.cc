// kata-runtime spec
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "cli/commands.h"
#include "oci/example_spec.h"
#include "oci/json.h"

namespace kata::cli {

Result<int> Execute(const GlobalOptions&, const SpecOptions& options) {
  const oci::Spec spec =
      options.rootless ? oci::RootlessExampleSpec(geteuid(), getegid()) : oci::ExampleSpec();
  const std::string path = options.bundle + "/config.json";
  Result<UniqueFd> file = Open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (!file && file.error().sys_errno() == EEXIST) {
    return MakeError(Code::kAlreadyExists, "write specification: file '{}' exists, remove it first", path);
  }
  if (!file) return std::move(file).error().Wrap("write specification");
  const Status written = WriteAll(file->get(), oci::ToIndentedJson(spec));
  if (!written) {
    unlink(path.c_str());
    return Error(written.error()).Wrap(fmt::format("write specification '{}'", path));
  }
  return 0;
}

}  // namespace kata::cli
