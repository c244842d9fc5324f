// Overlays of the host's directories: the guest does not have these, so the host mounts and shares them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::storage {

struct Overlay {
  unsigned long flags = 0;  // MS_*
  std::string data;         // overlayfs's own options, as mount(2) takes them
};

struct OverlayDirectory {
  std::string option;  // "lowerdir", "upperdir", "workdir"
  std::string path;    // without the escapes of the option
};

// The directories that the data of an overlay names, each layer of "lowerdir" for itself.
std::vector<OverlayDirectory> OverlayDirectories(const std::string& data);

// The overlay, attached nowhere: it vanishes with the descriptor unless attached. `namespace_fd`: the mount
// namespace in which its directories are looked up, borrowed; -1: that of the caller. `mount_point`: any
// directory there; nothing is seen on it. Needs CAP_SYS_ADMIN.
Result<UniqueFd> MountOverlay(const Overlay& overlay, int namespace_fd, const std::string& mount_point);

}  // namespace kata::storage
