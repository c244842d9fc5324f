// The storage drivers by name, and the table of what is mounted for the sandbox, counted by mount point.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/storage/watchable.h"
#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Names for AgentDetails.storage_handlers.
std::vector<std::string_view> StorageDriverNames();

// Storages of a sandbox. Containers may ask for the same mount point; it is mounted for the first and
// unmounted after the last. For worker threads: the lock is held while mounting, so that the second user of a
// mount point finds it ready, but not while waiting for a device. The loop thread must not call it.
class StorageTable {
 public:
  // How long to wait for a device that the host has announced.
  explicit StorageTable(std::chrono::seconds hotplug_timeout) : hotplug_timeout_(hotplug_timeout) {}

  // Mounts `storage` unless its mount point is in use already, and counts the use. `container_id`: for whom;
  // empty: for the sandbox. kUnimplemented for an unknown driver.
  Status Acquire(const grpc::Storage& storage, const std::string& container_id = {});
  // Watched copies ("watchable-bind") have to be brought up to date now and then. `callback` is called, on
  // the thread that calls Acquire, with each new one. Set before the first Acquire.
  void OnWatch(std::function<void()> callback) { on_watch_ = std::move(callback); }
  bool Watching() const;
  // Brings all copies up to date. A source that has become too large is bind mounted over its copy.
  void SyncWatched();
  // Gives a mounted "ephemeral" storage the options of `storage`, e.g. another size; nothing to do for
  // hugetlbfs. kNotFound for an unknown mount point.
  Status Update(const grpc::Storage& storage);
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
  // Counts a use of what is mounted already; false if nothing is.
  bool Reuse(const std::string& mount_point);
  // Starts the copy of a watchable-bind storage.
  Status Watch(const std::string& source, const std::string& mount_point);
  Status Remove(const std::string& mount_point, const Entry& entry);

  const std::chrono::seconds hotplug_timeout_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  uint64_t next_order_ = 0;
  std::function<void()> on_watch_;
  mutable std::mutex watch_mutex_;              // taken after mutex_
  std::map<std::string, WatchedCopy> watched_;  // by mount point
};

// Acquires `storages` from `table` and appends their mount points to `held`, also when it fails midway.
Status AcquireStorages(StorageTable& table, const google::protobuf::RepeatedPtrField<grpc::Storage>& storages,
                       const std::string& container_id, std::vector<std::string>& held);
// Gives back in reverse order; failures are logged.
void ReleaseStorages(StorageTable& table, const std::vector<std::string>& held);

}  // namespace kata::agent
