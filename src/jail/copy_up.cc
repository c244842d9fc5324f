// A copy by descriptors, so that nothing outside of the source can be reached.
#include "jail/copy_up.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <string>

#include "base/file.h"
#include "base/unique_fd.h"

namespace kata::jail {
namespace {

constexpr int kMaxDepth = 256;

// One call may say how long the text is, the next gets it; both are bounded by the kernel (64 KiB).
template <typename Call>
Result<std::string> ReadSized(Call&& call, const std::string& what) {
  const ssize_t size = call(nullptr, 0);
  if (size < 0) return SysError("{}", what);
  std::string text(static_cast<size_t>(size), '\0');
  const ssize_t n = call(text.data(), text.size());
  if (n < 0) return SysError("{}", what);
  text.resize(static_cast<size_t>(n));
  return text;
}

bool IsLeftOut(int cause) {
  return cause == EOPNOTSUPP || cause == EPERM || cause == EACCES;
}

Status CopyExtendedAttributes(int source, int target, const std::string& name) {
  const Result<std::string> list =
      ReadSized([&](char* text, size_t size) { return flistxattr(source, text, size); },
                fmt::format("list attributes of '{}'", name));
  if (!list) return IsLeftOut(list.error().sys_errno()) ? Status() : Status(list.error());
  for (size_t begin = 0; begin < list->size(); begin = list->find('\0', begin) + 1) {
    const char* attribute = list->c_str() + begin;
    const std::string what = fmt::format("copy attribute '{}' of '{}'", attribute, name);
    const Result<std::string> value =
        ReadSized([&](char* text, size_t size) { return fgetxattr(source, attribute, text, size); }, what);
    if (!value) {
      if (IsLeftOut(value.error().sys_errno()) || value.error().sys_errno() == ENODATA) continue;
      return value.error();
    }
    if (fsetxattr(target, attribute, value->data(), value->size(), 0) < 0 && !IsLeftOut(errno))
      return SysError("{}", what);
  }
  return {};
}

// chown clears set-id bits and capabilities, so these come after it; all of it changes times.
Status CopyAttributes(int source, const struct stat& info, int target, const std::string& name) {
  if (fchown(target, info.st_uid, info.st_gid) < 0) return SysError("set owner of '{}'", name);
  if (fchmod(target, info.st_mode & 07777) < 0) return SysError("set mode of '{}'", name);
  TRY(CopyExtendedAttributes(source, target, name));
  const timespec times[] = {info.st_atim, info.st_mtim};
  if (futimens(target, times) < 0) return SysError("set times of '{}'", name);
  return {};
}

// Of what cannot be opened.
Status CopyOwnerAndTimes(const struct stat& info, int target_dir, const std::string& name) {
  if (fchownat(target_dir, name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
    return SysError("set owner of '{}'", name);
  const timespec times[] = {info.st_atim, info.st_mtim};
  if (utimensat(target_dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
    return SysError("set times of '{}'", name);
  return {};
}

Status CopyFile(int source_dir, int target_dir, const std::string& name, const struct stat& info) {
  const UniqueFd source = TRY(OpenAt(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const UniqueFd target = TRY(OpenAt(target_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  for (off_t offset = 0; offset < info.st_size;) {
    const ssize_t n =
        sendfile(target.get(), source.get(), &offset, static_cast<size_t>(info.st_size - offset));
    if (n < 0 && errno != EINTR) return SysError("copy '{}'", name);
    if (n == 0) break;
  }
  return CopyAttributes(source.get(), info, target.get(), name);
}

// Fifos, sockets, devices.
Status CopyNode(int target_dir, const std::string& name, const struct stat& info) {
  if (mknodat(target_dir, name.c_str(), info.st_mode, info.st_rdev) < 0) {
    const bool device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
    return device && errno == EPERM ? Status() : SysError("create special file '{}'", name);
  }
  TRY(CopyOwnerAndTimes(info, target_dir, name));
  // Again, as the change of owner may have cleared bits.
  if (fchmodat(target_dir, name.c_str(), info.st_mode & 07777, 0) < 0)
    return SysError("set mode of '{}'", name);
  return {};
}

Status CopyLink(int source_dir, int target_dir, const std::string& name, const struct stat& info) {
  std::string text(PATH_MAX, '\0');
  const ssize_t n = readlinkat(source_dir, name.c_str(), text.data(), text.size());
  if (n < 0) return SysError("read link '{}'", name);
  text.resize(static_cast<size_t>(n));
  if (symlinkat(text.c_str(), target_dir, name.c_str()) < 0) return SysError("create link '{}'", name);
  return CopyOwnerAndTimes(info, target_dir, name);
}

Status CopyDirectory(int source, int target, int depth) {
  if (depth > kMaxDepth) return MakeError(Code::kResourceExhausted, "copy directory: nested too deep");
  for (const std::string& name : TRY(ListDirectory(source))) {
    struct stat info{};
    if (fstatat(source, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0)
      return SysError("read status of '{}'", name);
    if (S_ISDIR(info.st_mode)) {
      const UniqueFd from = TRY(OpenAt(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (mkdirat(target, name.c_str(), 0700) < 0) return SysError("create directory '{}'", name);
      const UniqueFd to = TRY(OpenAt(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY_CTX(CopyDirectory(from.get(), to.get(), depth + 1), "copy '{}'", name);
      TRY(CopyAttributes(from.get(), info, to.get(), name));
    } else if (S_ISREG(info.st_mode)) {
      TRY(CopyFile(source, target, name, info));
    } else if (S_ISLNK(info.st_mode)) {
      TRY(CopyLink(source, target, name, info));
    } else {
      TRY(CopyNode(target, name, info));
    }
  }
  return {};
}

}  // namespace

Status CopyTree(int source_fd, int target_fd) {
  const UniqueFd source = TRY(OpenAt(source_fd, ".", O_RDONLY | O_DIRECTORY));
  const UniqueFd target = TRY(OpenAt(target_fd, ".", O_RDONLY | O_DIRECTORY));
  return CopyDirectory(source.get(), target.get(), 0);
}

}  // namespace kata::jail
