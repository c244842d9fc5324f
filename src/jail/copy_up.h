// Filling a new file system with what its mount point holds ("tmpcopyup").
#pragma once

#include "base/result.h"

namespace kata::jail {

// Copies the content of the directory `source_fd` into the directory `target_fd`: directories, regular files,
// symbolic links, with mode and owner; the mode and owner of `target_fd` itself too. Links are never
// followed, other file systems and special files are left out.
Status CopyTree(int source_fd, int target_fd);

}  // namespace kata::jail
