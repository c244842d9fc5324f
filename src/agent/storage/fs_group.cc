#include "agent/storage/fs_group.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/file.h"
#include "linux/mounts.h"
#include "linux/rooted_path.h"

namespace kata::agent {
namespace {

constexpr mode_t kReadWrite = 0660;
constexpr mode_t kReadOnly = 0440;
constexpr mode_t kDirectory = 0110 | S_ISGID;

mode_t WantedMode(const struct stat& info, bool read_only) {
  const mode_t mask = (read_only ? kReadOnly : kReadWrite) | (S_ISDIR(info.st_mode) ? kDirectory : 0);
  return (info.st_mode & 07777) | mask;
}

bool RootMatches(const struct stat& info, gid_t group, bool read_only) {
  return info.st_gid == group && (info.st_mode & 07777) == WantedMode(info, read_only);
}

// `fd` is O_PATH.
Status Change(int fd, const struct stat& info, gid_t group, bool read_only, const std::string& name) {
  if (fchownat(fd, "", static_cast<uid_t>(-1), group, AT_EMPTY_PATH) != 0) {
    return SysError("give '{}' to group {}", name, group);
  }
  if (S_ISLNK(info.st_mode)) return {};
  // chown(2) may clear set-group-ID, so the mode comes second; fchmod(2) refuses O_PATH.
  if (chmod(linux::FdPath(fd).c_str(), WantedMode(info, read_only)) != 0) {
    return SysError("set mode of '{}'", name);
  }
  return {};
}

}  // namespace

Status ApplyFsGroup(const std::string& path, const grpc::FSGroup& group, bool read_only) {
  const gid_t gid = group.group_id();
  const UniqueFd root = TRY(Open(path, O_PATH | O_DIRECTORY));
  struct stat info{};
  if (fstat(root.get(), &info) != 0) return SysError("stat '{}'", path);
  if (group.group_change_policy() == grpc::OnRootMismatch && RootMatches(info, gid, read_only)) return {};

  // The root last: should this be interrupted, the next attempt finds it unlike the wanted.
  std::vector<std::string> directories{"."};
  while (!directories.empty()) {
    const std::string directory = std::move(directories.back());
    directories.pop_back();
    // The volume's content may be hostile, but nobody changes it meanwhile: no container has it yet.
    constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    const UniqueFd handle = TRY(linux::OpenAt2(root.get(), directory, O_RDONLY | O_DIRECTORY, kResolve));
    for (const std::string& name : TRY(ListDirectory(linux::FdPath(handle.get())))) {
      const std::string inner = directory + "/" + name;
      Result<UniqueFd> entry = linux::OpenAt2(handle.get(), name, O_PATH | O_NOFOLLOW,
                                              RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
      if (!entry && entry.error().sys_errno() == EXDEV) continue;
      const UniqueFd file = TRY(std::move(entry));
      if (fstat(file.get(), &info) != 0) return SysError("stat '{}'", inner);
      TRY(Change(file.get(), info, gid, read_only, inner));
      if (S_ISDIR(info.st_mode)) directories.push_back(inner);
    }
  }
  if (fstat(root.get(), &info) != 0) return SysError("stat '{}'", path);
  return Change(root.get(), info, gid, read_only, path);
}

}  // namespace kata::agent
