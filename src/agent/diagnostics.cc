#include "agent/diagnostics.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

namespace kata::agent {
namespace {

constexpr char kPathAnnotation[] = "io.kubernetes.container.terminationMessagePath";
constexpr char kDefaultPath[] = "/dev/termination-log";
constexpr size_t kMaxLogBytes = 4096;  // kubelet cuts there

}  // namespace

std::string TerminationLogSource(const oci::Spec& spec) {
  const auto annotation = spec.annotations.find(kPathAnnotation);
  const std::string path = annotation == spec.annotations.end() ? kDefaultPath : annotation->second;
  for (const oci::Mount& mount : spec.mounts) {
    if (mount.destination == path) return mount.source;
  }
  return {};
}

Result<std::string> ReadTerminationLog(const std::string& path) {
  // The container may have written anything, but only into the file: its directory is not the container's.
  const UniqueFd file = TRY(Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info{};
  if (fstat(file.get(), &info) != 0) return SysError("stat '{}'", path);
  if (!S_ISREG(info.st_mode)) return MakeError(Code::kFailedPrecondition, "'{}' is not a regular file", path);
  std::string text(kMaxLogBytes, '\0');
  const ssize_t size = pread(file.get(), text.data(), text.size(), 0);
  if (size < 0) return SysError("read '{}'", path);
  text.resize(static_cast<size_t>(size));
  return text;
}

}  // namespace kata::agent
