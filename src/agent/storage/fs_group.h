// Storage.fs_group: a volume that belongs to a group, with all that is in it.
#pragma once

#include <string>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Gives everything at and below `path` to the group: directories get set-group-ID and group access, files as
// much group access as their file system's being writable (`read_only`) allows. Symbolic links keep their
// mode; other file systems mounted inside are left alone. With the policy "OnRootMismatch" nothing is done
// when the root of the volume is right already.
Status ApplyFsGroup(const std::string& path, const grpc::FSGroup& group, bool read_only);

}  // namespace kata::agent
