// How full the file system of a volume is.
#pragma once

#include <string>

#include "base/result.h"
#include "proto/csi.pb.h"

namespace kata::agent {

// Bytes and inodes of the file system at `path` in the guest. Blocks as long as the file system does; for
// workers.
Result<grpc::VolumeStatsResponse> ReadVolumeStats(const std::string& path);

}  // namespace kata::agent
