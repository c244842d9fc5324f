#include "cgroup/systemd_path.h"

namespace kata::cgroup {

std::optional<std::string> ExpandSystemdPath(std::string_view cgroups_path) {
  constexpr std::string_view kSuffix = ".slice";
  const size_t first = cgroups_path.find(':');
  const size_t second = cgroups_path.find(':', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  std::string_view slice = cgroups_path.substr(0, first);
  const std::string_view prefix = cgroups_path.substr(first + 1, second - first - 1);
  const std::string_view name = cgroups_path.substr(second + 1);
  if (slice.empty()) slice = "system.slice";
  if (cgroups_path.contains('/') || !slice.ends_with(kSuffix) || name.empty() || name.contains(':')) {
    return std::nullopt;
  }
  std::string path;
  // "-.slice" is the root; the dashes of other slices are their ancestors (systemd.slice(5)).
  if (slice != "-.slice") {
    const std::string_view stem = slice.substr(0, slice.size() - kSuffix.size());
    for (size_t dash = stem.find('-'); dash != std::string_view::npos; dash = stem.find('-', dash + 1)) {
      path += "/" + std::string(stem.substr(0, dash)) + ".slice";
    }
    path += "/" + std::string(slice);
  }
  path += "/";
  if (!prefix.empty()) path += std::string(prefix) + "-";
  path += name;
  if (!name.ends_with(kSuffix)) path += ".scope";
  return path;
}

}  // namespace kata::cgroup
