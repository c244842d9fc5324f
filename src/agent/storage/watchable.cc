#include "agent/storage/watchable.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/file.h"
#include "linux/mounts.h"
#include "linux/rooted_path.h"

namespace kata::agent {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string Join(const std::string& base, const std::string& path) {
  return path.empty() ? base : base + "/" + path;
}

// A place in the copy, which a container may write to: nothing in it is found by more than one name below a
// directory that is open.
struct Place {
  UniqueFd parent;
  std::string name;
  std::string path;  // for messages

  std::string temporary() const { return name + ".tmp"; }
};

Result<Place> OpenPlace(const std::string& target, const std::string& path) {
  const auto split = [](const std::string& whole) {
    const size_t slash = whole.rfind('/');
    return slash == std::string::npos ? std::pair(std::string("."), whole)
                                      : std::pair(whole.substr(0, slash), whole.substr(slash + 1));
  };
  if (path.empty()) {
    const auto [directory, name] = split(target);
    return Place{TRY(Open(directory, O_PATH | O_DIRECTORY)), name, target};
  }
  const auto [directory, name] = split(path);
  const UniqueFd root = TRY(Open(target, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  constexpr uint64_t kStayBelow = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return Place{TRY(linux::OpenAt2(root.get(), directory, O_PATH | O_DIRECTORY, kStayBelow)), name,
               Join(target, path)};
}

Status Remove(const Place& place) {
  return RemoveTree(fmt::format("{}/{}", linux::FdPath(place.parent.get()), place.name));
}

Status SetOwnerAndMode(int fd, const Place& place, const struct stat& info) {
  if (fchown(fd, info.st_uid, info.st_gid) != 0) return SysError("set the owner of '{}'", place.path);
  if (fchmod(fd, info.st_mode & 07777) != 0) return SysError("set mode of '{}'", place.path);
  return {};
}

Status MoveIntoPlace(const Place& place) {
  const int parent = place.parent.get();
  if (renameat(parent, place.temporary().c_str(), parent, place.name.c_str()) != 0) {
    return SysError("replace '{}'", place.path);
  }
  return {};
}

Status CopyLink(const std::string& source, const Place& place, const struct stat& info) {
  char text[PATH_MAX];
  const ssize_t size = readlink(source.c_str(), text, sizeof text);
  if (size < 0) return SysError("read link '{}'", source);
  const int parent = place.parent.get();
  const std::string temporary = place.temporary();
  unlinkat(parent, temporary.c_str(), 0);
  if (symlinkat(std::string(text, static_cast<size_t>(size)).c_str(), parent, temporary.c_str()) != 0) {
    return SysError("make link '{}'", place.path);
  }
  if (fchownat(parent, temporary.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return SysError("set the owner of '{}'", place.path);
  }
  return MoveIntoPlace(place);
}

Result<std::string> ReadSource(const std::string& source) {
  const UniqueFd file = TRY(Open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  return TRY_CTX(ReadFd(file.get(), kMaxWatchedBytes), "read '{}'", source);
}

// The copy of a single file is what containers have mounted: a new file in its place would not be seen there.
Status OverwriteRegular(const std::string& source, const Place& place, const struct stat& info) {
  const std::string data = TRY(ReadSource(source));
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK;
  const UniqueFd copy = TRY_CTX(OpenAt(place.parent.get(), place.name, kFlags, 0600), "'{}'", place.path);
  TRY_CTX(WriteAll(copy.get(), data), "write '{}'", place.path);
  return SetOwnerAndMode(copy.get(), place, info);
}

Status CopyRegular(const std::string& source, const Place& place, const struct stat& info) {
  const std::string data = TRY(ReadSource(source));
  const std::string temporary = place.temporary();
  unlinkat(place.parent.get(), temporary.c_str(), 0);
  const UniqueFd copy =
      TRY_CTX(OpenAt(place.parent.get(), temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600), "'{}'",
              place.path);
  TRY_CTX(WriteAll(copy.get(), data), "write '{}'", place.path);
  TRY(SetOwnerAndMode(copy.get(), place, info));
  return MoveIntoPlace(place);
}

Status CopyDirectory(const Place& place, const struct stat& info) {
  if (mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0 && errno != EEXIST) {
    return SysError("make directory '{}'", place.path);
  }
  const UniqueFd directory = TRY_CTX(
      OpenAt(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), "'{}'", place.path);
  return SetOwnerAndMode(directory.get(), place, info);
}

}  // namespace

Result<WatchedTree> WatchedCopy::Scan() const {
  WatchedTree tree;
  uint64_t bytes = 0;
  std::vector<std::string> pending{""};
  while (!pending.empty()) {
    const std::string path = std::move(pending.back());
    pending.pop_back();
    const std::string full = Join(source_, path);
    struct stat info{};
    if (lstat(full.c_str(), &info) != 0) {
      if (errno == ENOENT && !path.empty()) continue;  // gone while looking
      return SysError("stat '{}'", full);
    }
    tree[path] = {info.st_mode, static_cast<uint64_t>(info.st_size), info.st_ino, Nanoseconds(info.st_mtim),
                  Nanoseconds(info.st_ctim)};
    if (S_ISREG(info.st_mode)) bytes += static_cast<uint64_t>(info.st_size);
    if (tree.size() > kMaxWatchedEntries || bytes > kMaxWatchedBytes) {
      return MakeError(Code::kResourceExhausted, "'{}' has more than {} entries or {} bytes", source_,
                       kMaxWatchedEntries, kMaxWatchedBytes);
    }
    if (!S_ISDIR(info.st_mode)) continue;
    for (const std::string& name : TRY(ListDirectory(full)))
      pending.push_back(path.empty() ? name : path + "/" + name);
  }
  return tree;
}

Status WatchedCopy::CopyEntry(const std::string& path, const WatchedEntry& entry) const {
  const std::string source = Join(source_, path);
  struct stat info{};
  if (lstat(source.c_str(), &info) != 0) return errno == ENOENT ? Status() : SysError("stat '{}'", source);
  // Changed kind since the scan: the next one sees it.
  if ((info.st_mode & S_IFMT) != (entry.mode & S_IFMT)) return {};
  const Place place = TRY(OpenPlace(target_, path));
  // What was of another kind makes room.
  struct stat old{};
  if (fstatat(place.parent.get(), place.name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(old.st_mode) != S_ISDIR(info.st_mode)) {
    TRY(Remove(place));
  }
  if (S_ISLNK(info.st_mode)) return CopyLink(source, place, info);
  if (S_ISREG(info.st_mode)) {
    return path.empty() ? OverwriteRegular(source, place, info) : CopyRegular(source, place, info);
  }
  if (!S_ISDIR(info.st_mode)) return {};  // sockets and devices are no configuration
  return CopyDirectory(place, info);
}

Status WatchedCopy::Sync() {
  WatchedTree tree = TRY(Scan());
  if (tree == seen_) return {};
  // Directories stand before what is in them, as the map is ordered.
  for (const bool links : {false, true}) {
    for (const auto& [path, entry] : tree) {
      if (S_ISLNK(entry.mode) != links) continue;
      const auto old = seen_.find(path);
      if (old == seen_.end() || !(old->second == entry)) TRY(CopyEntry(path, entry));
    }
  }
  for (const auto& [path, entry] : seen_) {
    if (path.empty() || tree.contains(path)) continue;
    Result<Place> place = OpenPlace(target_, path);
    // It has gone with its directory, or the container has put something else there.
    const int cause = place ? 0 : place.error().sys_errno();
    if (cause == ENOENT || cause == ENOTDIR || cause == ELOOP) continue;
    TRY(Remove(TRY(std::move(place))));
  }
  seen_ = std::move(tree);
  return {};
}

}  // namespace kata::agent
