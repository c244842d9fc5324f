// What to mount where, worked out from the spec before anything is touched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "linux/mounts.h"
#include "oci/id_map.h"
#include "oci/mounts.h"
#include "oci/spec.h"

namespace kata::jail {

struct MountStep {
  using Kind = oci::MountKind;
  Kind kind = Kind::kFileSystem;  // a bind is a copy of a mount of the agent's mount namespace
  std::string destination;        // absolute inside the container, without "." and ".."
  std::string type;
  std::string source;
  linux::MountOptions options;
  // For the file system itself: key and value, an empty value for a flag.
  std::vector<std::pair<std::string, std::string>> parameters;
  std::optional<oci::IdMap> id_map;  // binds only
  // MOUNT_ATTR_* of the mount on top, to set and to clear.
  uint64_t set = 0;
  uint64_t clear = 0;
  // Symbolic links on the way to the destination are refused: an image that makes /proc a link could
  // otherwise choose where the masked paths end up.
  bool no_symlinks = false;
  // Read-only only at the very end, as mount points or devices are still to be made on it.
  bool read_only_late = false;
};

// In the order of the spec, which has been validated: oci::Validate refuses destinations that must not be
// mounted on.
Result<std::vector<MountStep>> PlanMounts(const oci::Spec& spec);

// Whether /dev of the container is made here: not when the spec binds one.
bool NeedsDevices(const oci::Spec& spec);

}  // namespace kata::jail
