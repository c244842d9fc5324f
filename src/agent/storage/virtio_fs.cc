// Storage driver "virtio-fs": the directory that the host shares, by its device's tag.
#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "linux/mountinfo.h"
#include "protocol/constants.h"

namespace kata::agent {

Status MountVirtioFs(const grpc::Storage& storage) {
  const StorageOptions options = TRY(ParseStorageOptions(storage, false));
  Status mounted = MountStorage(storage, std::string(protocol::kFsTypeVirtioFs), options.rest);
  if (mounted || mounted.error().sys_errno() != EBUSY) return mounted;
  // A guest that was started from a template may have the share already; that is as good.
  const std::vector<linux::MountInfo> mounts = TRY(linux::ReadMountInfo());
  const linux::MountInfo* present = linux::FindMount(mounts, storage.mount_point());
  if (present != nullptr && present->fs_type == protocol::kFsTypeVirtioFs &&
      present->source == storage.source()) {
    return {};
  }
  return mounted;
}

}  // namespace kata::agent
