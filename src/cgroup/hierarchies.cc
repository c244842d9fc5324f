#include "cgroup/hierarchies.h"

#include <vector>

#include "base/file.h"
#include "base/take_field.h"
#include "linux/mountinfo.h"

namespace kata::cgroup {
namespace {

using linux::MountInfo;

// Where version 2 is mounted when it is the only one. Elsewhere (".../unified") it stands beside version 1,
// which has the controllers.
constexpr std::string_view kUnifiedMountPoint = "/sys/fs/cgroup";

// A mount may show a part of the hierarchy only, `root`, as in a container.
std::string PathBelow(const std::string& root, std::string_view path) {
  if (root == "/") return std::string(path);
  if (path == root) return "/";
  if (path.starts_with(root + "/")) return std::string(path.substr(root.size()));
  return std::string(path);
}

const MountInfo* FindHierarchy(const std::vector<MountInfo>& mounts, std::string_view name) {
  const std::string_view first = name.substr(0, name.find(','));
  for (const MountInfo& mount : mounts) {
    if (mount.fs_type == "cgroup" && mount.HasSuperOption(first)) return &mount;
  }
  return nullptr;
}

}  // namespace

Result<Hierarchies> ParseHierarchies(std::string_view mountinfo, std::string_view self_cgroup) {
  const std::vector<MountInfo> mounts = TRY(linux::ParseMountInfo(mountinfo));
  const MountInfo* unified = linux::FindMount(mounts, kUnifiedMountPoint);
  Hierarchies hierarchies;
  hierarchies.unified = unified != nullptr && unified->fs_type == "cgroup2";
  while (!self_cgroup.empty()) {
    std::string_view line = TakeField(self_cgroup, '\n');  // "4:cpu,cpuacct:/path"
    TakeField(line, ':');
    const std::string_view name = TakeField(line, ':');
    if (name.empty() != hierarchies.unified) continue;
    const MountInfo* mount = hierarchies.unified ? unified : FindHierarchy(mounts, name);
    if (mount == nullptr) continue;
    hierarchies.by_name[std::string(name)] = {mount->mount_point, PathBelow(mount->root, line)};
  }
  return hierarchies;
}

Result<Hierarchies> ReadHierarchies() {
  const std::string mountinfo =
      TRY_CTX(ReadFile("/proc/self/mountinfo", linux::kMaxMountInfoBytes), "find control groups");
  const std::string self_cgroup = TRY_CTX(ReadFile("/proc/self/cgroup"), "find control groups");
  return TRY_CTX(ParseHierarchies(mountinfo, self_cgroup), "find control groups");
}

}  // namespace kata::cgroup
