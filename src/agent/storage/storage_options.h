// The words in Storage.options that the agent acts on itself, apart from those for mount(2).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

struct StorageOptions {
  std::optional<gid_t> group;     // fsgid=N
  std::optional<mode_t> mode;     // mode=0777
  std::vector<std::string> rest;  // all other words
};

// `take_mode`: whether mode= is ours; else it stays in `rest` for the file system. kInvalidArgument for a
// malformed number.
Result<StorageOptions> ParseStorageOptions(const grpc::Storage& storage, bool take_mode);

// Mounts with `options` in the words of mount(8). An empty file system type is the Storage's own.
Status MountStorage(const grpc::Storage& storage, const std::string& fs_type,
                    const std::vector<std::string>& options);

// Gives `path` to the group, which new files below inherit (set-group-ID).
Status GiveToGroup(const std::string& path, gid_t group);

// What hugetlbfs's options ask for: pages of `page_bytes`, together `size_bytes`.
struct HugePageRequest {
  uint64_t page_bytes = 0;
  uint64_t size_bytes = 0;
};
// From "pagesize=2M" and "size=..." among the words; each word may hold several, comma separated.
Result<HugePageRequest> ParseHugePageRequest(const std::vector<std::string>& options);

// "2M", "1Gi", "4096", "64kB" -> bytes.
Result<uint64_t> ParseByteSize(std::string_view text);

}  // namespace kata::agent
