// What becomes of a container's mounts when the container runs in a virtual machine.
#pragma once

#include <sys/mount.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/id_map.h"
#include "oci/spec.h"
#include "storage/overlay.h"

namespace kata::storage {

enum class SourceKind { kDirectory, kRegularFile, kSocket, kFifo, kCharacterDevice, kBlockDevice };

struct SourceInfo {
  SourceKind kind = SourceKind::kDirectory;
  std::optional<uint64_t> tmpfs_bytes;      // size of the tmpfs that the source lies on; 0: without limit
  unsigned long mount_flags = MS_RELATIME;  // MS_* of the mount that it lies on
};

// Looks at a path of the host, following symbolic links; an error where there is nothing.
using SourceProbe = std::function<Result<SourceInfo>(const std::string& path)>;
// The probe that really looks (stat(2), statfs(2)).
Result<SourceInfo> ProbeSource(const std::string& path);

// A source that must reach the guest: share it, then put the path in the guest into mounts[mount].source.
struct ShareRequest {
  size_t mount = 0;
  std::string source;  // absolute
  std::string destination;
  uint64_t set = 0;  // MOUNT_ATTR_* on the host
  uint64_t clear = 0;
  uint64_t recursive_set = 0;  // also of the mounts below that there are
  bool recursive = false;
  bool slave = false;  // also what the host mounts below later
  // Whose ids the shared files have; the guest has no part in it.
  std::optional<oci::IdMap> id_map;
  // To be mounted on the host and shared in the place of the source, which is only a name then.
  std::optional<Overlay> overlay;
};

struct MountPlan {
  std::vector<oci::Mount> mounts;  // for the guest, in the order of the specification
  std::vector<ShareRequest> shares;
};

// Decides for each mount: directories and regular files of the host are shared; kernel file systems are the
// guest's own, so are binds of /proc, /sys and /dev or from below them, of which those of processes and
// control groups are the container's own; a /dev/shm that the host provides becomes a tmpfs of the same size
// in the guest; overlays are mounted by the host and shared. Refused, with the mount named: sockets, fifos,
// devices outside /dev, anything but a bind of /proc on /proc, mappings of ids without ids
// (kInvalidArgument), file systems of the host (kUnimplemented). `bundle`: where relative sources begin. Pure
// but for `probe`.
Result<MountPlan> PlanMounts(const oci::Spec& spec, const std::string& bundle, const SourceProbe& probe);

}  // namespace kata::storage
