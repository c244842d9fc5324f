// A copy by descriptors, so that nothing outside of the source can be reached.
#include "jail/copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/unique_fd.h"

namespace kata::jail {
namespace {

constexpr int kMaxDepth = 256;

Status CopyOwnerAndMode(const struct stat& info, int fd, const std::string& name) {
  // chown clears set-id bits, so the mode comes after it.
  if (fchown(fd, info.st_uid, info.st_gid) < 0) return SysError("set owner of '{}'", name);
  if (fchmod(fd, info.st_mode & 07777) < 0) return SysError("set mode of '{}'", name);
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
  return CopyOwnerAndMode(info, target.get(), name);
}

Status CopyLink(int source_dir, int target_dir, const std::string& name, const struct stat& info) {
  std::string text(PATH_MAX, '\0');
  const ssize_t n = readlinkat(source_dir, name.c_str(), text.data(), text.size());
  if (n < 0) return SysError("read link '{}'", name);
  text.resize(static_cast<size_t>(n));
  if (symlinkat(text.c_str(), target_dir, name.c_str()) < 0) return SysError("create link '{}'", name);
  if (fchownat(target_dir, name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
    return SysError("set owner of '{}'", name);
  }
  return {};
}

Result<std::vector<std::string>> Names(int directory) {
  UniqueFd copy = TRY(OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy.get()), closedir);
  if (!stream) return SysError("read directory");
  (void)copy.Release();
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

Status CopyDirectory(int source, int target, dev_t device, int depth) {
  if (depth > kMaxDepth) return MakeError(Code::kResourceExhausted, "copy directory: nested too deep");
  for (const std::string& name : TRY(Names(source))) {
    struct stat info{};
    if (fstatat(source, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0)
      return SysError("read status of '{}'", name);
    if (info.st_dev != device) continue;
    if (S_ISDIR(info.st_mode)) {
      const UniqueFd from = TRY(OpenAt(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (mkdirat(target, name.c_str(), 0700) < 0) return SysError("create directory '{}'", name);
      const UniqueFd to = TRY(OpenAt(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY_CTX(CopyDirectory(from.get(), to.get(), device, depth + 1), "copy '{}'", name);
      TRY(CopyOwnerAndMode(info, to.get(), name));
    } else if (S_ISREG(info.st_mode)) {
      TRY(CopyFile(source, target, name, info));
    } else if (S_ISLNK(info.st_mode)) {
      TRY(CopyLink(source, target, name, info));
    }
  }
  return {};
}

}  // namespace

Status CopyTree(int source_fd, int target_fd) {
  const UniqueFd source = TRY(OpenAt(source_fd, ".", O_RDONLY | O_DIRECTORY));
  const UniqueFd target = TRY(OpenAt(target_fd, ".", O_RDONLY | O_DIRECTORY));
  struct stat info{};
  if (fstat(source.get(), &info) < 0) return SysError("read status of mount point");
  TRY(CopyDirectory(source.get(), target.get(), info.st_dev, 0));
  return CopyOwnerAndMode(info, target.get(), ".");
}

}  // namespace kata::jail
