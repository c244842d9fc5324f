// Filling a new file system with what its mount point holds ("tmpcopyup").
#pragma once

#include "base/result.h"

namespace kata::jail {

// Copies the content of the directory `source_fd` into the directory `target_fd`, which nobody else can reach
// yet: files of all kinds with owner, mode, times and, but for symbolic links and special files, extended
// attributes. Those of `target_fd` itself are the options' to say, as under runc. Links are never followed;
// what is mounted below is copied as it shows. Left out are devices where the caller may not make them (in a
// user namespace, where they would not work) and attributes that it may not set or `target_fd` does not take.
Status CopyTree(int source_fd, int target_fd);

}  // namespace kata::jail
