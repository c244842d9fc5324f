#include "oci/mounts.h"

#include <algorithm>
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

bool IsAtOrBelow(std::string_view path, std::string_view parent) {
  return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

bool HasOption(const Mount& mount, std::string_view name) {
  return std::ranges::find(mount.options, name) != mount.options.end();
}

bool IsBind(const Mount& mount) {
  return mount.type == "bind" || HasOption(mount, "bind") || HasOption(mount, "rbind");
}

}  // namespace kata::oci
