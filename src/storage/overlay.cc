// OverlayDirectories and MountOverlay.
#include "storage/overlay.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <string_view>

#include "linux/mounts.h"
#include "linux/namespaces.h"

namespace kata::storage {
namespace {

// As overlayfs does it: no separator is one behind a backslash.
std::vector<std::string_view> SplitEscaped(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == separator) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

}  // namespace

std::vector<OverlayDirectory> OverlayDirectories(const std::string& data) {
  std::vector<OverlayDirectory> directories;
  for (const std::string_view option : SplitEscaped(data, ',')) {
    const size_t equals = option.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string name(option.substr(0, equals));
    const std::string_view value = option.substr(equals + 1);
    if (name == "lowerdir") {
      for (const std::string_view layer : SplitEscaped(value, ':')) {
        // "::" sets layers that hold data only apart.
        if (!layer.empty()) directories.push_back({name, Unescape(layer)});
      }
    } else if (name == "upperdir" || name == "workdir") {
      directories.push_back({name, Unescape(value)});
    }
  }
  return directories;
}

// By mount(2), as runtimes on a host do it: fsconfig(2) takes values of 255 bytes at most, and paths are
// longer. That needs a place, which is in a namespace of its own, as the host shall not see it.
Result<UniqueFd> MountOverlay(const Overlay& overlay, int namespace_fd, const std::string& mount_point) {
  UniqueFd mounted;
  TRY(linux::CallInMountNamespaceCopy(namespace_fd, [&]() -> Status {
    if (mount("overlay", mount_point.c_str(), "overlay", overlay.flags, overlay.data.c_str()) < 0) {
      return SysError("mount overlay '{}'", overlay.data);
    }
    mounted = TRY(linux::CloneMount(AT_FDCWD, mount_point, /*recursive=*/false));
    return {};
  }));
  return mounted;
}

}  // namespace kata::storage
