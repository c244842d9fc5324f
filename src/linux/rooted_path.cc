// Resolution of paths below an untrusted root (openat2(2)).
#include "linux/rooted_path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>
#include <vector>

namespace kata::linux {
namespace {

// openat2 gives EAGAIN when a rename or mount raced with the resolution of "..": the caller has to try again.
constexpr int kMaxRetries = 128;
// As the kernel's own limit (path_resolution(7)).
constexpr int kMaxLinks = 40;

std::vector<std::string> SplitPath(const std::string& path) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin < path.size()) {
    size_t end = path.find('/', begin);
    if (end == std::string::npos) end = path.size();
    std::string part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
    begin = end + 1;
  }
  return parts;
}

std::string Join(const std::vector<std::string>& parts, size_t count) {
  std::string path;
  for (size_t i = 0; i < count; ++i) {
    if (i != 0) path += '/';
    path += parts[i];
  }
  return path.empty() ? "." : path;
}

// nullopt for what is no symbolic link.
std::optional<std::string> ReadLinkAt(int dirfd, const std::string& name) {
  std::string target(PATH_MAX, '\0');
  const ssize_t n = readlinkat(dirfd, name.c_str(), target.data(), target.size());
  if (n < 0) return std::nullopt;
  target.resize(static_cast<size_t>(n));
  return target;
}

// The path with the symbolic link at `index` replaced by what it says.
std::vector<std::string> ReplaceByTarget(const std::vector<std::string>& parts, size_t index,
                                         const std::string& target) {
  const auto link = parts.begin() + static_cast<std::ptrdiff_t>(index);
  std::vector<std::string> replaced;
  if (!target.starts_with('/')) replaced.assign(parts.begin(), link);
  for (std::string& part : SplitPath(target)) replaced.push_back(std::move(part));
  replaced.insert(replaced.end(), link + 1, parts.end());
  return replaced;
}

}  // namespace

Result<UniqueFd> OpenAt2(int dirfd, const std::string& path, int flags, uint64_t resolve, mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = resolve;
  for (int i = 0;; ++i) {
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof(how))));
    if (fd) return fd;
    if ((errno != EAGAIN && errno != EINTR) || i == kMaxRetries) return SysError("open '{}'", path);
  }
}

Result<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags, mode_t mode) {
  return OpenAt2(root_fd, path.empty() ? "." : path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, mode);
}

Result<UniqueFd> MkdirAllInRoot(int root_fd, const std::string& path, mode_t mode) {
  Result<UniqueFd> existing = OpenInRoot(root_fd, path, O_PATH | O_DIRECTORY);
  if (existing || existing.error().sys_errno() != ENOENT) return existing;
  std::vector<std::string> parts = SplitPath(path);
  UniqueFd parent = TRY(OpenInRoot(root_fd, ".", O_PATH | O_DIRECTORY));
  int links = 0;
  for (size_t i = 0; i < parts.size();) {
    // Always from the root: only then do ".." and absolute links in a later part mean the same as for the
    // container.
    const std::string prefix = Join(parts, i + 1);
    Result<UniqueFd> next = OpenInRoot(root_fd, prefix, O_PATH | O_DIRECTORY);
    if (!next && next.error().sys_errno() == ENOENT) {
      if (mkdirat(parent.get(), parts[i].c_str(), mode) < 0) {
        if (errno != EEXIST) return SysError("create directory '{}'", prefix);
        if (const std::optional<std::string> target = ReadLinkAt(parent.get(), parts[i])) {
          if (++links > kMaxLinks) return ErrnoError(ELOOP, fmt::format("create directory '{}'", path));
          parts = ReplaceByTarget(parts, i, *target);
          parent = TRY(OpenInRoot(root_fd, ".", O_PATH | O_DIRECTORY));
          i = 0;
          continue;
        }
      }
      next = OpenInRoot(root_fd, prefix, O_PATH | O_DIRECTORY);
    }
    parent = TRY(std::move(next));
    ++i;
  }
  return parent;
}

Result<ParentDirectory> OpenParentInRoot(int root_fd, const std::string& path, mode_t mode) {
  const std::vector<std::string> parts = SplitPath(path);
  if (parts.empty() || parts.back() == "..") {
    return MakeError(Code::kInvalidArgument, "path '{}' names no file", path);
  }
  UniqueFd parent = TRY(MkdirAllInRoot(root_fd, Join(parts, parts.size() - 1), mode));
  return ParentDirectory{std::move(parent), parts.back()};
}

Result<UniqueFd> CreateFileInRoot(int root_fd, const std::string& path, mode_t mode) {
  std::vector<std::string> parts = SplitPath(path);
  for (int links = 0; links <= kMaxLinks; ++links) {
    const std::string current = Join(parts, parts.size());
    Result<UniqueFd> existing = OpenInRoot(root_fd, current, O_PATH);
    if (existing || existing.error().sys_errno() != ENOENT) return existing;
    const ParentDirectory parent = TRY(OpenParentInRoot(root_fd, current));
    // mknod never follows a link that has been put there meanwhile.
    if (mknodat(parent.fd.get(), parent.name.c_str(), S_IFREG | mode, 0) == 0)
      return OpenInRoot(root_fd, current, O_PATH);
    if (errno != EEXIST) return SysError("create file '{}'", path);
    const std::optional<std::string> target = ReadLinkAt(parent.fd.get(), parent.name);
    if (!target) return OpenInRoot(root_fd, current, O_PATH);
    parts = ReplaceByTarget(parts, parts.size() - 1, *target);
  }
  return ErrnoError(ELOOP, fmt::format("create file '{}'", path));
}

}  // namespace kata::linux
