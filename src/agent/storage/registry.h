// The storage drivers by name, and the table of what is mounted for the sandbox, counted by mount point.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Names for AgentDetails.storage_handlers.
std::vector<std::string_view> StorageDriverNames();

// Storages of a sandbox. Containers may ask for the same mount point; it is mounted for the first and
// unmounted after the last. For worker threads: the lock is held while mounting, so that the second user of a
// mount point finds it ready. The loop thread must not call it.
class StorageTable {
 public:
  // Mounts `storage` unless its mount point is in use already, and counts the use. kUnimplemented for an
  // unknown driver.
  Status Acquire(const grpc::Storage& storage);
  // Gives a use back; the last one unmounts. An unknown mount point is kNotFound.
  Status Release(const std::string& mount_point);
  // Unmounts all, last mounted first; returns the first error and goes on.
  Status ReleaseAll();

 private:
  struct Entry {
    std::string driver;
    int uses = 0;
    uint64_t order = 0;
  };
  static Status Remove(const std::string& mount_point, const Entry& entry);

  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  uint64_t next_order_ = 0;
};

// Acquires `storages` from `table` and appends their mount points to `held`, also when it fails midway.
Status AcquireStorages(StorageTable& table, const google::protobuf::RepeatedPtrField<grpc::Storage>& storages,
                       std::vector<std::string>& held);
// Gives back in reverse order; failures are logged.
void ReleaseStorages(StorageTable& table, const std::vector<std::string>& held);

}  // namespace kata::agent
