// Storage driver "watchable-bind": configuration that changes under a running container. Over virtio-fs a
// guest does not see changes by inotify, so the agent copies what the host shows into the guest's memory,
// where programs can watch it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace kata::agent {

// Larger sources are not configuration: they are bind mounted instead.
inline constexpr size_t kMaxWatchedEntries = 16;
inline constexpr uint64_t kMaxWatchedBytes = 1u << 20;

// What was seen of a source: path below it ("" is itself) -> what tells a change.
struct WatchedEntry {
  uint32_t mode = 0;
  uint64_t size = 0;
  uint64_t inode = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  friend bool operator==(const WatchedEntry&, const WatchedEntry&) = default;
};
using WatchedTree = std::map<std::string, WatchedEntry>;

// One source and its copy. Not thread safe. All functions block; for workers.
class WatchedCopy {
 public:
  // `source`: a file or directory; `target`: the path of the copy, whose parent exists.
  WatchedCopy(std::string source, std::string target)
      : source_(std::move(source)), target_(std::move(target)) {}

  // Copies what has changed since the last time: new content first, then links, at last what is gone, so that
  // a link switched atomically (Kubernetes' "..data") is so in the copy too. kResourceExhausted for a source
  // that is, or has become, too large.
  Status Sync();

  const std::string& source() const { return source_; }
  const std::string& target() const { return target_; }

 private:
  Result<WatchedTree> Scan() const;
  Status CopyEntry(const std::string& path, const WatchedEntry& entry) const;

  std::string source_;
  std::string target_;
  WatchedTree seen_;
};

}  // namespace kata::agent
