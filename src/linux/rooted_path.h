// Paths inside a directory that somebody hostile may fill: resolved by openat2(2), never outside of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// openat2(2) with O_CLOEXEC added. `resolve`: RESOLVE_* of <linux/openat2.h>.
Result<UniqueFd> OpenAt2(int dirfd, const std::string& path, int flags, uint64_t resolve, mode_t mode = 0);

// `path` as a process with its root at `root_fd` would open it: "..", absolute paths and symbolic links stay
// inside, magic links (/proc/self/fd/N) are refused. A leading '/' is optional.
Result<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags, mode_t mode = 0);

// mkdir -p in the same way, following symbolic links inside the root; what a dangling one leads to is made.
// Returns the last directory (O_PATH). An existing part that is no directory is an error (ENOTDIR).
Result<UniqueFd> MkdirAllInRoot(int root_fd, const std::string& path, mode_t mode = 0755);

// Opens (O_PATH) the file at `path`, which is created empty, with its parent directories, when it is missing;
// in place of a dangling symbolic link, the file that it leads to. What exists is returned as it is, whatever
// its type.
Result<UniqueFd> CreateFileInRoot(int root_fd, const std::string& path, mode_t mode = 0644);

// Opens (O_PATH | O_NOFOLLOW) the parent directory of `path` and gives the last part's name, for mknodat(2),
// symlinkat(2) and so on. The parent is created when missing.
struct ParentDirectory {
  UniqueFd fd;
  std::string name;
};
Result<ParentDirectory> OpenParentInRoot(int root_fd, const std::string& path, mode_t mode = 0755);

}  // namespace kata::linux
