#include "agent/storage/watchable.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/file.h"

namespace kata::agent {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string Join(const std::string& base, const std::string& path) {
  return path.empty() ? base : base + "/" + path;
}

Status SetOwnerAndMode(const std::string& path, const struct stat& info) {
  if (lchown(path.c_str(), info.st_uid, info.st_gid) != 0) return SysError("set the owner of '{}'", path);
  if (!S_ISLNK(info.st_mode) && chmod(path.c_str(), info.st_mode & 07777) != 0) {
    return SysError("set mode of '{}'", path);
  }
  return {};
}

Status MoveOver(const std::string& temporary, const std::string& path) {
  if (rename(temporary.c_str(), path.c_str()) != 0) return SysError("replace '{}'", path);
  return {};
}

Status CopyLink(const std::string& source, const std::string& target, const struct stat& info) {
  char text[PATH_MAX];
  const ssize_t size = readlink(source.c_str(), text, sizeof text);
  if (size < 0) return SysError("read link '{}'", source);
  const std::string temporary = target + ".tmp";
  unlink(temporary.c_str());
  if (symlink(std::string(text, static_cast<size_t>(size)).c_str(), temporary.c_str()) != 0) {
    return SysError("make link '{}'", temporary);
  }
  TRY(SetOwnerAndMode(temporary, info));
  return MoveOver(temporary, target);
}

Status CopyRegular(const std::string& source, const std::string& target, const struct stat& info) {
  const UniqueFd file = TRY(Open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const std::string data = TRY_CTX(ReadFd(file.get(), kMaxWatchedBytes), "read '{}'", source);
  const std::string temporary = target + ".tmp";
  TRY(WriteFileAtomic(temporary, data, 0600));
  TRY(SetOwnerAndMode(temporary, info));
  return MoveOver(temporary, target);
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
  const std::string target = Join(target_, path);
  struct stat info{};
  if (lstat(source.c_str(), &info) != 0) return errno == ENOENT ? Status() : SysError("stat '{}'", source);
  // Changed kind since the scan: the next one sees it.
  if ((info.st_mode & S_IFMT) != (entry.mode & S_IFMT)) return {};
  // What was of another kind makes room.
  struct stat old{};
  if (lstat(target.c_str(), &old) == 0 && S_ISDIR(old.st_mode) != S_ISDIR(info.st_mode))
    TRY(RemoveTree(target));
  if (S_ISLNK(info.st_mode)) return CopyLink(source, target, info);
  if (S_ISREG(info.st_mode)) return CopyRegular(source, target, info);
  if (!S_ISDIR(info.st_mode)) return {};  // sockets and devices are no configuration
  if (mkdir(target.c_str(), 0700) != 0 && errno != EEXIST) return SysError("make directory '{}'", target);
  return SetOwnerAndMode(target, info);
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
    if (!path.empty() && !tree.contains(path)) TRY(RemoveTree(Join(target_, path)));
  }
  seen_ = std::move(tree);
  return {};
}

}  // namespace kata::agent
