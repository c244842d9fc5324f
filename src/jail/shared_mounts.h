// Mounts of one container shown in another one of the same sandbox.
#pragma once

#include <string>

#include "base/deadline.h"
#include "base/result.h"

namespace kata::jail {

// Shows what is mounted on `source_path` in the container of the process `source_pidfd` at `destination_path`
// in that of `destination_pidfd`, where the directory, or file, is made if it is missing. Waits for the mount
// of the source. Both paths stay inside of their containers' roots. Blocks; for workers.
Status ShareMount(int source_pidfd, const std::string& source_path, int destination_pidfd,
                  const std::string& destination_path, Deadline deadline);

}  // namespace kata::jail
