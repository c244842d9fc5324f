#include "agent/storage/registry.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/storage/handlers.h"
#include "base/file.h"
#include "base/log.h"
#include "linux/mounts.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

struct Driver {
  std::string_view name;
  Status (*mount)(const grpc::Storage&);
};

constexpr Driver kDrivers[] = {
    {protocol::kStorageVirtioFs, MountVirtioFs},   {protocol::kStorage9p, MountNineP},
    {protocol::kStorageEphemeral, MountEphemeral}, {protocol::kStorageLocal, MountLocal},
    {protocol::kStorageBind, MountBind},
};

Result<const Driver*> FindDriver(std::string_view name) {
  for (const Driver& driver : kDrivers) {
    if (driver.name == name) return &driver;
  }
  return MakeError(Code::kUnimplemented, "unknown storage driver '{}'", name);
}

Status CheckMountPoint(const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || (path + "/").contains("/../")) {
    return MakeError(Code::kInvalidArgument, "mount point '{}' is not an absolute path", path);
  }
  return {};
}

}  // namespace

std::vector<std::string_view> StorageDriverNames() {
  std::vector<std::string_view> names;
  for (const Driver& driver : kDrivers) names.push_back(driver.name);
  return names;
}

Status StorageTable::Acquire(const grpc::Storage& storage) {
  const std::string& mount_point = storage.mount_point();
  TRY(CheckMountPoint(mount_point));
  const Driver* driver = TRY(FindDriver(storage.driver()));
  if (storage.has_fs_group()) {
    return MakeError(Code::kUnimplemented, "storage '{}': fs_group is not supported", mount_point);
  }
  const std::lock_guard lock(mutex_);
  if (const auto it = entries_.find(mount_point); it != entries_.end()) {
    ++it->second.uses;
    return {};
  }
  TRY_CTX(MakeDirectories(mount_point), "mount storage '{}'", mount_point);
  TRY_CTX(driver->mount(storage), "mount storage '{}' (driver '{}')", mount_point, storage.driver());
  // The sandbox itself is one more user of what is shared: it stays until the sandbox ends.
  entries_[mount_point] = {storage.driver(), storage.shared() ? 2 : 1, next_order_++};
  return {};
}

Status StorageTable::Release(const std::string& mount_point) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(mount_point);
  if (it == entries_.end()) return MakeError(Code::kNotFound, "no storage at '{}'", mount_point);
  if (--it->second.uses > 0) return {};
  const Entry entry = it->second;
  entries_.erase(it);
  return Remove(mount_point, entry);
}

Status StorageTable::ReleaseAll() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, Entry>> all(entries_.begin(), entries_.end());
  entries_.clear();
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.second.order > b.second.order; });
  Status first;
  for (const auto& [mount_point, entry] : all) {
    Status status = Remove(mount_point, entry);
    if (!status && first) first = std::move(status);
  }
  return first;
}

Status StorageTable::Remove(const std::string& mount_point, const Entry& entry) {
  if (entry.driver == protocol::kStorageLocal) return RemoveTree(mount_point);
  TRY(linux::UnmountAll(mount_point));
  // Only our own empty mount point goes; one that holds something was there before.
  rmdir(mount_point.c_str());
  return {};
}

Status AcquireStorages(StorageTable& table, const google::protobuf::RepeatedPtrField<grpc::Storage>& storages,
                       std::vector<std::string>& held) {
  for (const grpc::Storage& storage : storages) {
    TRY(table.Acquire(storage));
    held.push_back(storage.mount_point());
  }
  return {};
}

void ReleaseStorages(StorageTable& table, const std::vector<std::string>& held) {
  for (auto it = held.rbegin(); it != held.rend(); ++it) {
    if (Status status = table.Release(*it); !status) {
      log::Warning("storage was not released", {{"error", status.error().message()}});
    }
  }
}

}  // namespace kata::agent
