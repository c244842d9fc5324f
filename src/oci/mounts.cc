#include "oci/mounts.h"

#include <string_view>
#include <vector>

namespace kata::oci {

MountKind KindOf(const Mount& mount, const linux::MountOptions& options) {
  if (options.IsRemount()) return MountKind::kRemount;
  if (mount.type == "bind" || options.IsBind()) return MountKind::kBind;
  if (mount.type == "cgroup" || mount.type == "cgroup2") return MountKind::kCgroup;
  return MountKind::kFileSystem;
}

std::string CleanAbsolutePath(const std::string& path) {
  std::vector<std::string_view> parts;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  std::string clean;
  for (const std::string_view part : parts) {
    clean += '/';
    clean += part;
  }
  return clean.empty() ? "/" : clean;
}

}  // namespace kata::oci
