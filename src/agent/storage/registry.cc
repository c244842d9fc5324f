#include "agent/storage/registry.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/storage/fs_group.h"
#include "agent/storage/handlers.h"
#include "base/file.h"
#include "base/log.h"
#include "base/scope_exit.h"
#include "linux/mounts.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

struct Driver {
  std::string_view name;
  Status (*mount)(const grpc::Storage&);
  // Completes a Storage message, before the table's lock is taken: it may wait for a device.
  Status (*prepare)(const StorageContext&, grpc::Storage&) = nullptr;
};

constexpr Driver kDrivers[] = {
    {protocol::kStorageVirtioFs, MountVirtioFs},
    {protocol::kStorage9p, MountNineP},
    {protocol::kStorageBlock, MountBlock, PrepareBlock},
    {protocol::kStorageMmioBlock, MountBlock, PrepareBlock},
    {protocol::kStorageScsi, MountBlock, PrepareBlock},
    {protocol::kStorageNvdimm, MountBlock, PrepareBlock},
    {protocol::kStorageOverlay, MountOverlay, PrepareOverlay},
    {protocol::kStorageEphemeral, MountEphemeral},
    {protocol::kStorageLocal, MountLocal},
    {protocol::kStorageBind, MountBind},
    {protocol::kStorageWatchableBind, nullptr},  // StorageTable's own: a copy, not a mount
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

// What is too large to be copied is shown as it is; programs in the container do not hear of changes then.
Status BindOver(const WatchedCopy& copy) {
  log::Warning("watched storage is too large and bind mounted instead", {{"source", copy.source()}});
  struct stat info{};
  if (stat(copy.source().c_str(), &info) != 0) return SysError("stat '{}'", copy.source());
  if (S_ISDIR(info.st_mode)) {
    TRY(MakeDirectories(copy.target()));
  } else if (!PathExists(copy.target())) {
    TRY(WriteFileAtomic(copy.target(), ""));
  }
  return linux::Mount(copy.source(), copy.target(), "", MS_BIND);
}

bool IsReadOnly(const grpc::Storage& storage) {
  return std::find(storage.options().begin(), storage.options().end(), "ro") != storage.options().end();
}

}  // namespace

std::vector<std::string_view> StorageDriverNames() {
  std::vector<std::string_view> names;
  for (const Driver& driver : kDrivers) names.push_back(driver.name);
  return names;
}

bool StorageTable::Reuse(const std::string& mount_point) {
  const auto it = entries_.find(mount_point);
  if (it == entries_.end()) return false;
  ++it->second.uses;
  return true;
}

Status StorageTable::Acquire(const grpc::Storage& request, const std::string& container_id) {
  const std::string& mount_point = request.mount_point();
  TRY(CheckMountPoint(mount_point));
  const Driver* driver = TRY(FindDriver(request.driver()));
  std::unique_lock lock(mutex_);
  if (Reuse(mount_point)) return {};
  grpc::Storage storage = request;
  if (driver->prepare != nullptr) {
    lock.unlock();
    TRY_CTX(driver->prepare({container_id, hotplug_timeout_}, storage), "mount storage '{}' (driver '{}')",
            mount_point, request.driver());
    lock.lock();
    if (Reuse(mount_point)) return {};
  }
  const Entry entry{request.driver(), request.shared() ? 2 : 1, next_order_++};
  if (driver->mount == nullptr) {
    TRY_CTX(Watch(request.source(), mount_point), "watch '{}' at '{}'", request.source(), mount_point);
    entries_[mount_point] = entry;
    return {};
  }
  TRY_CTX(MakeDirectories(mount_point), "mount storage '{}'", mount_point);
  TRY_CTX(driver->mount(storage), "mount storage '{}' (driver '{}')", mount_point, request.driver());
  ScopeExit undo([&] { (void)Remove(mount_point, entry); });
  if (request.has_fs_group()) {
    TRY_CTX(ApplyFsGroup(mount_point, request.fs_group(), IsReadOnly(request)), "mount storage '{}'",
            mount_point);
  }
  undo.Release();
  // The sandbox itself is one more user of what is shared: it stays until the sandbox ends.
  entries_[mount_point] = entry;
  return {};
}

Status StorageTable::Update(const grpc::Storage& storage) {
  const std::string& mount_point = storage.mount_point();
  if (storage.driver() != protocol::kStorageEphemeral) {
    return MakeError(Code::kInvalidArgument, "update storage '{}': driver '{}' is not '{}'", mount_point,
                     storage.driver(), protocol::kStorageEphemeral);
  }
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(mount_point);
  if (it == entries_.end() || it->second.driver != protocol::kStorageEphemeral) {
    return MakeError(Code::kNotFound, "update storage '{}': not mounted", mount_point);
  }
  TRY_CTX(RemountEphemeral(storage), "update storage '{}'", mount_point);
  return {};
}

Status StorageTable::Watch(const std::string& source, const std::string& mount_point) {
  // The copies live in a tmpfs on the directory of this name in the share, which the host has made for that.
  constexpr std::string_view kRootName = "/watchable/";
  const size_t found = mount_point.find(kRootName);
  if (found == std::string::npos) {
    return Error(Code::kInvalidArgument, "the mount point is not below a directory 'watchable'");
  }
  const std::string root = mount_point.substr(0, found + kRootName.size() - 1);
  if (!entries_.contains(root)) {
    TRY(MakeDirectories(root));
    TRY(linux::Mount("watchable", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"));
    entries_[root] = {std::string(protocol::kStorageEphemeral), 1, next_order_++};
  }
  TRY(MakeDirectories(mount_point.substr(0, mount_point.rfind('/'))));
  WatchedCopy copy(source, mount_point);
  if (Status status = copy.Sync(); !status) {
    if (status.error().code() != Code::kResourceExhausted) return status;
    return BindOver(copy);
  }
  {
    const std::lock_guard lock(watch_mutex_);
    watched_.emplace(mount_point, std::move(copy));
  }
  if (on_watch_) on_watch_();
  return {};
}

bool StorageTable::Watching() const {
  const std::lock_guard lock(watch_mutex_);
  return !watched_.empty();
}

void StorageTable::SyncWatched() {
  const std::lock_guard lock(watch_mutex_);
  for (auto it = watched_.begin(); it != watched_.end();) {
    Status status = it->second.Sync();
    const bool too_large = !status && status.error().code() == Code::kResourceExhausted;
    if (too_large) status = BindOver(it->second);
    if (!status) {
      log::Warning("watched storage is not up to date",
                   {{"source", it->second.source()}, {"error", status.error().message()}});
    }
    it = too_large ? watched_.erase(it) : std::next(it);
  }
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
  if (entry.driver == protocol::kStorageWatchableBind) {
    const std::lock_guard lock(watch_mutex_);
    watched_.erase(mount_point);
  }
  TRY(linux::UnmountAll(mount_point));
  if (entry.driver == protocol::kStorageWatchableBind) return RemoveTree(mount_point);
  // Only our own empty mount point goes; one that holds something was there before.
  rmdir(mount_point.c_str());
  return {};
}

Status AcquireStorages(StorageTable& table, const google::protobuf::RepeatedPtrField<grpc::Storage>& storages,
                       const std::string& container_id, std::vector<std::string>& held) {
  for (const grpc::Storage& storage : storages) {
    TRY(table.Acquire(storage, container_id));
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
