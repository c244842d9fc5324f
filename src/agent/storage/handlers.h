// The storage drivers: how each makes what a Storage message describes appear at its mount point. The mount
// point exists as a directory when a driver's function is called. Workers call them; they may block.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// For whom a storage is prepared.
struct StorageContext {
  std::string container_id;  // empty: the sandbox
  std::chrono::seconds hotplug_timeout{};
};

// virtio-fs: `source` is the tag of the device.
Status MountVirtioFs(const grpc::Storage& storage);
// 9p: `source` is the tag of the device.
Status MountNineP(const grpc::Storage& storage);
// ephemeral: a file system in memory, tmpfs or hugetlbfs by `fstype`.
Status MountEphemeral(const grpc::Storage& storage);
// Gives one that is mounted new options.
Status RemountEphemeral(const grpc::Storage& storage);
// local: a directory of the guest.
Status MountLocal(const grpc::Storage& storage);
// bind: `source` is a path in the guest.
Status MountBind(const grpc::Storage& storage);

// blk, mmioblk, scsi, nvdimm: waits for the device that `source` addresses, and puts its node there.
Status PrepareBlock(const StorageContext& context, grpc::Storage& storage);
Status MountBlock(const grpc::Storage& storage);
// overlayfs: makes the directories and options that the agent has to add.
Status PrepareOverlay(const StorageContext& context, grpc::Storage& storage);
Status MountOverlay(const grpc::Storage& storage);

}  // namespace kata::agent
