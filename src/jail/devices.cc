// Device nodes below an untrusted root.
#include "jail/devices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "jail/mount_plan.h"
#include "linux/mounts.h"
#include "linux/rooted_path.h"

namespace kata::jail {
namespace {

constexpr mode_t kDefaultMode = 0666;

Result<mode_t> FileType(const oci::Device& device) {
  if (device.type == "c" || device.type == "u") return S_IFCHR;
  if (device.type == "b") return S_IFBLK;
  if (device.type == "p") return S_IFIFO;
  return MakeError(Code::kInvalidArgument, "unknown device type '{}'", device.type);
}

bool IsSameNode(const struct stat& info, mode_t type, dev_t number) {
  return (info.st_mode & S_IFMT) == type && (type == S_IFIFO || info.st_rdev == number);
}

Status MakeNode(const linux::ParentDirectory& parent, const oci::Device& device) {
  const mode_t type = TRY(FileType(device));
  const mode_t mode = device.file_mode.value_or(kDefaultMode) & 07777;
  const dev_t number =
      type == S_IFIFO ? 0 : makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
  const char* name = parent.name.c_str();
  struct stat info{};
  if (fstatat(parent.fd.get(), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !IsSameNode(info, type, number)) {
    if (unlinkat(parent.fd.get(), name, 0) < 0) return SysError("replace file");
  }
  if (mknodat(parent.fd.get(), name, type | mode, number) < 0 && errno != EEXIST)
    return SysError("create node");
  const uid_t uid = device.uid.value_or(0);
  const gid_t gid = device.gid.value_or(0);
  if (fchownat(parent.fd.get(), name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0) return SysError("set owner");
  // mknod applied the umask. The name cannot have become a link: the container does not run yet, and /dev is
  // its own.
  if (fchmodat(parent.fd.get(), name, mode, 0) < 0) return SysError("set mode");
  return {};
}

// The id outside of the container's user namespace; 0, which has none in there, if it has none.
uint32_t MapId(const std::optional<uint32_t>& id, const std::vector<oci::IdMapping>& mappings) {
  if (!id) return 0;
  for (const oci::IdMapping& mapping : mappings) {
    if (*id >= mapping.container_id && *id - mapping.container_id < mapping.size)
      return mapping.host_id + (*id - mapping.container_id);
  }
  return 0;
}

// "/dev/net/tun" -> "net!tun", which the container's mount table shows.
std::string NodeName(std::string path) {
  path.erase(0, path.starts_with("/dev/") ? 5 : 1);
  std::replace(path.begin(), path.end(), '/', '!');
  return path;
}

// /dev/ptmx is a link to the container's own devpts, and the console is bind mounted.
bool IsMadeElsewhere(const oci::Device& device) {
  return device.path == "/dev/ptmx" || device.path == "/dev/console";
}

Status BindNode(int root_fd, const oci::Device& device, int node_fd) {
  const UniqueFd target = TRY(linux::CreateFileInRoot(root_fd, device.path));
  return linux::AttachMount(node_fd, target.get());
}

}  // namespace

std::vector<oci::Device> DevicesOf(const oci::Spec& spec) {
  std::vector<oci::Device> devices{
      {"/dev/null", "c", 1, 3, kDefaultMode, 0, 0},    {"/dev/zero", "c", 1, 5, kDefaultMode, 0, 0},
      {"/dev/full", "c", 1, 7, kDefaultMode, 0, 0},    {"/dev/random", "c", 1, 8, kDefaultMode, 0, 0},
      {"/dev/urandom", "c", 1, 9, kDefaultMode, 0, 0}, {"/dev/tty", "c", 5, 0, kDefaultMode, 0, 0},
  };
  if (!spec.linux) return devices;
  for (const oci::Device& device : spec.linux->devices) {
    oci::Device clean = device;
    clean.path = oci::CleanAbsolutePath(device.path);
    const auto same =
        std::find_if(devices.begin(), devices.end(), [&](const auto& d) { return d.path == clean.path; });
    if (same != devices.end()) {
      *same = clean;
    } else {
      devices.push_back(clean);
    }
  }
  return devices;
}

Result<std::vector<UniqueFd>> DetachDevices(const oci::Spec& spec, const std::vector<oci::Device>& devices,
                                            const std::string& place) {
  const UniqueFd file_system = TRY(linux::CreateMount("tmpfs", {{"mode", "755"}}, 0));
  const UniqueFd directory = TRY(Open(place, O_PATH | O_DIRECTORY));
  // A copy can only be made of what is attached.
  TRY(linux::AttachMount(file_system.get(), directory.get()));
  const linux::ScopedMount attached(place);
  std::vector<UniqueFd> nodes(devices.size());
  for (size_t i = 0; i < devices.size(); ++i) {
    oci::Device device = devices[i];
    if (device.type == "p" || IsMadeElsewhere(device)) continue;
    device.uid = MapId(device.uid, spec.linux->uid_mappings);
    device.gid = MapId(device.gid, spec.linux->gid_mappings);
    const std::string name = NodeName(device.path);
    const auto make = [&]() -> Result<UniqueFd> {
      TRY(MakeNode({TRY(file_system.Duplicate()), name}, device));
      return linux::CloneMount(file_system.get(), name, false);
    };
    nodes[i] = TRY_CTX(make(), "create device '{}'", device.path);
  }
  return nodes;
}

Status CreateDevices(int root_fd, const std::vector<oci::Device>& devices,
                     const std::vector<UniqueFd>& nodes) {
  for (size_t i = 0; i < devices.size(); ++i) {
    const oci::Device& device = devices[i];
    if (IsMadeElsewhere(device)) continue;
    const auto create = [&]() -> Status {
      if (i < nodes.size() && nodes[i]) return BindNode(root_fd, device, nodes[i].get());
      return MakeNode(TRY(linux::OpenParentInRoot(root_fd, device.path)), device);
    };
    TRY_CTX(create(), "create device '{}'", device.path);
  }
  return {};
}

Status CreateDeviceLinks(int root_fd) {
  static constexpr std::pair<const char*, const char*> kLinks[] = {
      {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
      {"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"},      {"ptmx", "pts/ptmx"}};
  const UniqueFd dev = TRY(linux::MkdirAllInRoot(root_fd, "dev"));
  for (const auto& [name, target] : kLinks) {
    // As runc does: not where the kernel has none (CONFIG_PROC_KCORE).
    if (std::string_view(name) == "core" && access(target, F_OK) < 0) continue;
    struct stat info{};
    const bool ptmx = std::string_view(name) == "ptmx";
    // A ptmx node of the image would be the agent's devpts, not the container's.
    if (ptmx && fstatat(dev.get(), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(info.st_mode)) {
      if (unlinkat(dev.get(), name, 0) < 0) return SysError("replace '/dev/{}'", name);
    }
    if (symlinkat(target, dev.get(), name) < 0 && errno != EEXIST)
      return SysError("create link '/dev/{}'", name);
  }
  return {};
}

}  // namespace kata::jail
