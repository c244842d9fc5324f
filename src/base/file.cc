#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>

namespace kata {
namespace {

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
using UniqueDir = std::unique_ptr<DIR, DirCloser>;

// Takes the descriptor over.
Result<UniqueDir> OpenDirStream(UniqueFd fd, const std::string& path) {
  UniqueDir dir(fdopendir(fd.get()));
  if (!dir) return SysError("read directory '{}'", path);
  (void)fd.Release();
  return dir;
}

// The next entry without "." and "..", nullptr at the end.
Result<const dirent*> NextEntry(DIR* dir, const std::string& path) {
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir);
    if (entry == nullptr && errno != 0) return SysError("read directory '{}'", path);
    if (entry == nullptr) return entry;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return entry;
  }
}

// `path` for messages.
Result<std::vector<std::string>> ListEntries(UniqueFd directory, const std::string& path) {
  const UniqueDir dir = TRY(OpenDirStream(std::move(directory), path));
  std::vector<std::string> names;
  while (const dirent* entry = TRY(NextEntry(dir.get(), path))) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

// A directory directly below `dirfd`, unless it is a symbolic link or a mount point. RESOLVE_NO_XDEV refuses
// any mount point (EXDEV), also a bind mount of the same file system, which a comparison of st_dev would not
// notice.
int OpenOwnDirectory(int dirfd, const char* name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  return static_cast<int>(syscall(SYS_openat2, dirfd, name, &how, sizeof how));
}

// One run of RemoveTree.
class TreeRemover {
 public:
  TreeRemover(int top_fd, std::string top_path) : top_fd_(top_fd), top_path_(std::move(top_path)) {}

  // Empties the top directory itself. Directories that were moved up from the depth appear in it, so passes
  // repeat until one finds nothing.
  void EmptyTop() {
    while (EmptyOnce(top_fd_, top_path_, 0)) {
    }
  }
  Status TakeError() { return std::move(first_error_); }

 private:
  // Descriptors and stack in use stay bounded by this however deep the tree is.
  static constexpr int kMaxDepth = 32;

  void Keep(Error error) {
    if (first_error_) first_error_ = std::move(error);
  }

  // Removes what it can in the directory; true when something went away.
  bool EmptyOnce(int dirfd, const std::string& path, int depth) {
    UniqueFd stream_fd(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!stream_fd.valid()) {
      Keep(SysError("open '{}'", path));
      return false;
    }
    Result<UniqueDir> dir = OpenDirStream(std::move(stream_fd), path);
    if (!dir) {
      Keep(dir.error());
      return false;
    }
    bool removed = false;
    for (;;) {
      Result<const dirent*> entry = NextEntry(dir->get(), path);
      if (!entry) Keep(entry.error());
      if (!entry || *entry == nullptr) return removed;
      if (RemoveEntry(dirfd, (*entry)->d_name, path, depth)) removed = true;
    }
  }

  bool RemoveEntry(int dirfd, const char* name, const std::string& parent, int depth) {
    if (unlinkat(dirfd, name, 0) == 0) return true;
    if (errno == ENOENT) return false;
    const std::string path = parent + "/" + name;
    if (errno != EISDIR && errno != EPERM) {  // unlink(2): a directory gives EISDIR, by POSIX EPERM
      Keep(SysError("remove '{}'", path));
      return false;
    }
    const int unlink_errno = errno;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0) return true;
    if (errno == ENOTDIR) {
      Keep(ErrnoError(unlink_errno, fmt::format("remove '{}'", path)));
      return false;
    }
    if (errno != ENOTEMPTY && errno != EEXIST) {
      if (errno != ENOENT) Keep(SysError("remove '{}'", path));
      return false;
    }
    if (depth >= kMaxDepth) return MoveToTop(dirfd, name, path);
    const UniqueFd child(OpenOwnDirectory(dirfd, name));
    if (!child.valid()) {
      if (errno != ENOENT) Keep(SysError("remove '{}'", path));
      return false;
    }
    // Some network file systems skip entries when others go away during the listing: hence the repetition.
    bool removed = false;
    while (EmptyOnce(child.get(), path, depth + 1)) {
      removed = true;
      if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0) return true;
    }
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0) return true;
    if (errno != ENOENT) Keep(SysError("remove '{}'", path));
    return removed;
  }

  bool MoveToTop(int dirfd, const char* name, const std::string& path) {
    const std::string moved = fmt::format(".remove-{}-{}", getpid(), ++moved_);
    if (renameat(dirfd, name, top_fd_, moved.c_str()) == 0) return true;
    Keep(SysError("remove '{}'", path));
    return false;
  }

  int top_fd_;
  std::string top_path_;
  unsigned long moved_ = 0;
  Status first_error_;
};

// At most 64 bytes of what was written to a knob, for an error message.
std::string_view Excerpt(std::string_view data) {
  while (!data.empty() && data.back() == '\n') data.remove_suffix(1);
  return data.substr(0, 64);
}

Status WriteOnce(const UniqueFd& fd, const std::string& path, std::string_view data) {
  ssize_t written;
  do {
    written = write(fd.get(), data.data(), data.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) return SysError("write '{}' to '{}'", Excerpt(data), path);
  if (static_cast<size_t>(written) != data.size()) {
    return MakeError(Code::kInternal, "write '{}' to '{}': only {} of {} bytes were taken", Excerpt(data),
                     path, written, data.size());
  }
  return {};
}

// Without fsync on purpose: what is kept this way is void after a reboot.
Status WriteTemporary(int dirfd, const std::string& path, std::string_view data, mode_t mode) {
  // The directory may be others' as well: a file of theirs would stay theirs. One of ours is a crash's.
  if (unlinkat(dirfd, path.c_str(), 0) < 0 && errno != ENOENT) return SysError("remove '{}'", path);
  const UniqueFd fd = TRY(OpenAt(dirfd, path, O_WRONLY | O_CREAT | O_EXCL, mode));
  // The mode as asked for, whatever the umask says.
  if (fchmod(fd.get(), mode) < 0) return SysError("set mode of '{}'", path);
  return WriteAll(fd.get(), data);
}

// `wait` comes before each read.
Result<std::string> ReadToEnd(int fd, size_t limit, const std::function<Status()>& wait) {
  std::string content;
  char buffer[16384];
  for (;;) {
    TRY(wait());
    const ssize_t count = read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SysError("read file descriptor {}", fd);
    if (count == 0) return content;
    if (static_cast<size_t>(count) > limit - content.size()) {
      return MakeError(Code::kResourceExhausted, "longer than {} bytes", limit);
    }
    content.append(buffer, static_cast<size_t>(count));
  }
}

}  // namespace

Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode) {
  return OpenAt(AT_FDCWD, path, flags, mode);
}

Result<UniqueFd> OpenAt(int dirfd, const std::string& path, int flags, mode_t mode) {
  int fd;
  do {
    fd = openat(dirfd, path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return SysError("open '{}'", path);
  return UniqueFd(fd);
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  const UniqueFd fd = TRY(Open(path, O_RDONLY));
  return TRY_CTX(ReadFd(fd.get(), limit), "read '{}'", path);
}

Result<std::string> ReadFd(int fd, size_t limit) {
  return ReadToEnd(fd, limit, [] { return Status(); });
}

Result<std::string> ReadFd(int fd, size_t limit, Deadline deadline, std::string_view what) {
  return ReadToEnd(fd, limit, [&] { return WaitFd(fd, POLLIN, deadline, what); });
}

ssize_t ReadAvailable(int fd, size_t max_bytes, std::string& data) {
  ssize_t count = -1;
  data.resize_and_overwrite(max_bytes, [&](char* room, size_t size) {
    do {
      count = read(fd, room, size);
    } while (count < 0 && errno == EINTR);
    return std::max<ssize_t>(count, 0);
  });
  return count;
}

Status WriteKnob(const std::string& path, std::string_view data) {
  return WriteKnobAt(AT_FDCWD, path, data);
}

Status WriteKnobAt(int dirfd, const std::string& path, std::string_view data) {
  // Kernel files know no O_NONBLOCK; it keeps open(2) from waiting for who has a lease on the file
  // (fcntl(2)).
  const UniqueFd fd = TRY(OpenAt(dirfd, path, O_WRONLY | O_NONBLOCK));
  return WriteOnce(fd, path, data);
}

Status WriteFileAtomic(const std::string& path, std::string_view data, mode_t mode) {
  return WriteFileAtomicAt(AT_FDCWD, path, data, mode);
}

Status WriteFileAtomicAt(int dirfd, const std::string& path, std::string_view data, mode_t mode) {
  const std::string temporary = fmt::format("{}.tmp-{}", path, getpid());
  Status status = WriteTemporary(dirfd, temporary, data, mode);
  if (status && renameat(dirfd, temporary.c_str(), dirfd, path.c_str()) < 0)
    status = SysError("rename '{}' to '{}'", temporary, path);
  if (!status) {
    unlinkat(dirfd, temporary.c_str(), 0);
    return std::move(status).error().Wrap(fmt::format("write '{}'", path));
  }
  return {};
}

Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SysError("write to file descriptor {}", fd);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string prefix = path.substr(0, end);
    if (mkdir(prefix.c_str(), mode) < 0) {
      const int mkdir_errno = errno;
      struct stat info;
      // An existing component may also fail with EROFS or EACCES before EEXIST is looked at.
      if (stat(prefix.c_str(), &info) < 0)
        return ErrnoError(mkdir_errno, fmt::format("create directory '{}'", prefix));
      if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, fmt::format("create directory '{}'", prefix));
    }
    if (end == std::string::npos) return {};
  }
}

bool PathExists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

Status RemoveTree(const std::string& path) {
  // "link/" would name the directory behind the symbolic link.
  const std::string clean = path.substr(0, path.find_last_not_of('/') + 1);
  if (unlink(clean.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  if (errno != EISDIR && errno != EPERM) return SysError("remove '{}'", path);
  if (rmdir(clean.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != ENOTEMPTY && errno != EEXIST) return SysError("remove '{}'", path);

  // Opened from its parent, so that a mount point is refused at the top too.
  const size_t slash = clean.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : clean.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? clean : clean.substr(slash + 1);
  const UniqueFd parent_fd = TRY(Open(parent, O_PATH | O_DIRECTORY));
  const UniqueFd top(OpenOwnDirectory(parent_fd.get(), name.c_str()));
  if (!top.valid()) return errno == ENOENT ? Status() : SysError("remove '{}'", path);
  TreeRemover remover(top.get(), clean);
  remover.EmptyTop();
  TRY(remover.TakeError());
  if (unlinkat(parent_fd.get(), name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) {
    return SysError("remove '{}'", path);
  }
  return {};
}

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  return ListEntries(TRY(Open(path, O_RDONLY | O_DIRECTORY)), path);
}

Result<std::vector<std::string>> ListDirectory(int directory_fd) {
  return ListEntries(TRY(OpenAt(directory_fd, ".", O_RDONLY | O_DIRECTORY)), ".");
}

Status WaitFd(int fd, short events, Deadline deadline, std::string_view what) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, deadline.RemainingPollMs());
    if (ready < 0 && errno != EINTR) return SysError("wait for {}", what);
    if (ready > 0 && (entry.revents & POLLNVAL) != 0) {
      return ErrnoError(EBADF, fmt::format("wait for {}", what));
    }
    // POLLERR and POLLHUP come unasked for; the caller's next read or write says what they mean.
    if (ready > 0) return {};
    if (deadline.Passed()) return MakeError(Code::kDeadlineExceeded, "wait for {}: deadline exceeded", what);
  }
}

Result<TempDir> TempDir::Create(const std::string& prefix) {
  const char* base = getenv("TMPDIR");
  std::string path = fmt::format("{}/{}XXXXXX", base != nullptr && *base != '\0' ? base : "/tmp", prefix);
  if (mkdtemp(path.data()) == nullptr) return SysError("create temporary directory '{}'", path);
  return TempDir(std::move(path));
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  if (this != &other) {
    if (!path_.empty()) (void)RemoveTree(path_);
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

TempDir::~TempDir() {
  if (!path_.empty()) (void)RemoveTree(path_);
}

}  // namespace kata
