// The storage drivers: how each makes what a Storage message describes appear at its mount point. The mount
// point exists as a directory when a driver's function is called. Workers call them; they may block.
#pragma once

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// virtio-fs: `source` is the tag of the device.
Status MountVirtioFs(const grpc::Storage& storage);
// 9p: `source` is the tag of the device.
Status MountNineP(const grpc::Storage& storage);
// ephemeral: a file system in memory, tmpfs or hugetlbfs by `fstype`.
Status MountEphemeral(const grpc::Storage& storage);
// local: a directory of the guest.
Status MountLocal(const grpc::Storage& storage);
// bind: `source` is a path in the guest.
Status MountBind(const grpc::Storage& storage);

}  // namespace kata::agent
