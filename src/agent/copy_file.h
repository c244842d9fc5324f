// CopyFile: files of the host for a guest without shared file system, written part by part.
#pragma once

#include <string>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Writes one part below `base_directory`; `request.path()` must lie in it, and symbolic links do not lead out
// of it. A regular file grows as `<path>.tmp` and gets its name when it has its size; directories and
// symbolic links are made at once. Missing parent directories get `dir_mode`. Blocks.
Status CopyFile(const std::string& base_directory, const grpc::CopyFileRequest& request);

}  // namespace kata::agent
