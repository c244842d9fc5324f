#include "storage/mount_plan.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "linux/mounts.h"
#include "oci/mounts.h"
#include "storage/bind_attributes.h"

namespace kata::storage {
namespace {

using oci::HasOption;
using oci::IsAtOrBelow;

constexpr char kShm[] = "/dev/shm";
constexpr std::string_view kProc = "/proc";
constexpr std::string_view kCgroups = "/sys/fs/cgroup";

// File systems that a kernel offers without a device or a server behind them.
constexpr std::string_view kGuestFileSystems[] = {
    "proc",    "sysfs",    "tmpfs",    "ramfs",      "devpts",  "mqueue",      "cgroup",
    "cgroup2", "devtmpfs", "debugfs",  "securityfs", "tracefs", "binfmt_misc", "configfs",
    "fusectl", "pstore",   "efivarfs", "hugetlbfs",  "bpf",     "rpc_pipefs",  "selinuxfs"};

// As mount(8) reads them: the last word counts.
bool IsReadOnly(const oci::Mount& mount) {
  bool read_only = false;
  for (const std::string& option : mount.options) {
    if (option == "ro" || option == "rro") read_only = true;
    if (option == "rw" || option == "rrw") read_only = false;
  }
  return read_only;
}

// A mount in the guest never reaches the host: of "shared" only the other direction is left.
bool IsSlave(const oci::Mount& mount) {
  return HasOption(mount, "slave") || HasOption(mount, "rslave") || HasOption(mount, "shared") ||
         HasOption(mount, "rshared");
}

Error Refuse(const oci::Mount& mount, Code code, std::string_view reason) {
  return MakeError(code, "mount '{}' on '{}': {}", mount.source, mount.destination, reason);
}

// A tmpfs in the guest in the place of the shared memory directory that the engine made on the host.
oci::Mount GuestShm(const oci::Mount& mount, uint64_t bytes) {
  oci::Mount shm;
  shm.destination = mount.destination;
  shm.type = "tmpfs";
  shm.source = "shm";
  shm.options = {"nosuid", "nodev", "noexec", "mode=1777", fmt::format("size={}", bytes)};
  if (IsReadOnly(mount)) shm.options.emplace_back("ro");
  return shm;
}

// A kernel's file system in the place of a bind of it, with what the options say about the mount itself.
oci::Mount KernelMount(const oci::Mount& bind, const std::string& type, const std::string& destination) {
  oci::Mount mount;
  mount.destination = destination;
  mount.type = type;
  mount.source = type;
  mount.options = {"nosuid", "nodev", "noexec"};
  if (IsReadOnly(bind)) mount.options.emplace_back("ro");
  return mount;
}

class Planner {
 public:
  Planner(const oci::Spec& spec, const std::string& bundle, const SourceProbe& probe)
      : spec_(spec),
        user_namespace_(oci::FindUserNamespace(spec) != nullptr),
        bundle_(bundle),
        probe_(probe) {}

  Status Add(const oci::Mount& mount) {
    if (oci::IsBind(mount)) return AddBind(mount);
    if (mount.type == "overlay" && !HasOption(mount, "remount")) {
      TRY_CTX(ShareOverlay(mount), "mount '{}' on '{}'", mount.source, mount.destination);
      return {};
    }
    if (std::find(std::begin(kGuestFileSystems), std::end(kGuestFileSystems), mount.type) ==
        std::end(kGuestFileSystems)) {
      return Refuse(mount, Code::kUnimplemented,
                    fmt::format("a file system of type '{}' cannot be mounted in the guest", mount.type));
    }
    plan_.mounts.push_back(mount);
    return {};
  }
  MountPlan Take() { return std::move(plan_); }

 private:
  Status AddBind(const oci::Mount& mount) {
    // What is opened keeps its "..", which mean something else behind a symbolic link.
    const std::string source = mount.source.starts_with('/') ? mount.source : bundle_ + "/" + mount.source;
    const std::string place = oci::CleanAbsolutePath(source);
    // The guest kernel's own files; the host's would tell about the wrong machine.
    if (IsAtOrBelow(place, kProc)) return AddProc(mount, place);
    if (oci::CleanAbsolutePath(mount.destination) == kProc) {
      return Refuse(mount, Code::kInvalidArgument,
                    "\"/proc\" cannot be mounted because it is not of type proc");
    }
    if (IsAtOrBelow(place, "/sys")) return AddSys(mount, place);

    Result<SourceInfo> probed = probe_(source);
    if (!probed) {
      return std::move(probed).error().Wrap(
          fmt::format("mount '{}' on '{}'", mount.source, mount.destination));
    }
    // The engine's; a directory of the user's is on another file system, or is shared as any other.
    if (oci::CleanAbsolutePath(mount.destination) == kShm && probed->tmpfs_bytes) {
      plan_.mounts.push_back(GuestShm(mount, *probed->tmpfs_bytes));
      return {};
    }
    // /dev/shm holds ordinary files; the rest of /dev is devices, which each kernel has for itself.
    const bool in_dev = IsAtOrBelow(place, "/dev") && !IsAtOrBelow(place, kShm);
    switch (probed->kind) {
      case SourceKind::kDirectory:
        if (in_dev) return PassBind(mount, place);
        return Share(mount, source, probed->mount_flags);
      case SourceKind::kRegularFile:
        return Share(mount, source, probed->mount_flags);
      case SourceKind::kCharacterDevice:
        if (in_dev) return PassBind(mount, place);
        return Refuse(mount, Code::kInvalidArgument,
                      "a device outside /dev cannot be bound into a virtual machine");
      case SourceKind::kBlockDevice:
        return Refuse(mount, Code::kInvalidArgument, "a block device cannot be bound into a virtual machine");
      case SourceKind::kSocket:
        return Refuse(mount, Code::kInvalidArgument,
                      "a socket of the host cannot be reached from a virtual machine");
      case SourceKind::kFifo:
        return Refuse(mount, Code::kInvalidArgument,
                      "a fifo of the host cannot be reached from a virtual machine");
    }
    return Refuse(mount, Code::kInternal, "unknown kind of file");
  }

  oci::Mount& PushBind(const oci::Mount& mount) {
    plan_.mounts.push_back(mount);
    oci::Mount& bind = plan_.mounts.back();
    bind.type = "bind";
    if (!HasOption(bind, "bind") && !HasOption(bind, "rbind")) bind.options.emplace_back("bind");
    return bind;
  }

  // The agent's own /proc would lead to the agent's files, through /proc/1/root and the like.
  Status AddProc(const oci::Mount& mount, const std::string& place) {
    if (place == kProc) {
      plan_.mounts.push_back(KernelMount(mount, "proc", mount.destination));
      return {};
    }
    const std::string_view name = std::string_view(place).substr(kProc.size() + 1);
    const std::string_view first = name.substr(0, name.find('/'));
    const bool number = std::all_of(first.begin(), first.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (number || first == "self" || first == "thread-self") {
      return Refuse(mount, Code::kInvalidArgument, "the processes of the host are not in the guest");
    }
    return PassBind(mount, place);
  }

  // What Podman gives to a container with systemd on a host with version 1, a writable hierarchy of systemd's
  // own, is in the guest with its version 2 the one hierarchy that is mounted already.
  bool OpenCgroups(const oci::Mount& mount) {
    const std::string destination = oci::CleanAbsolutePath(mount.destination);
    if (destination == kCgroups || !IsAtOrBelow(destination, kCgroups)) return false;
    const auto whole = std::find_if(plan_.mounts.begin(), plan_.mounts.end(), [](const oci::Mount& other) {
      return other.type == "cgroup" && oci::CleanAbsolutePath(other.destination) == kCgroups;
    });
    if (whole == plan_.mounts.end()) return false;
    if (!IsReadOnly(mount)) std::erase(whole->options, "ro");
    return true;
  }

  // Control groups are the container's own: those of the guest limit it, and the agent has one beside it.
  Status AddSys(const oci::Mount& mount, const std::string& place) {
    if (IsAtOrBelow(place, kCgroups)) {
      if (OpenCgroups(mount)) return {};
      plan_.mounts.push_back(KernelMount(mount, "cgroup", mount.destination));
      return {};
    }
    TRY(PassBind(mount, place));
    if (!IsAtOrBelow(std::string(kCgroups), place) || !HasOption(mount, "rbind")) return {};
    std::vector<std::string>& options = plan_.mounts.back().options;
    std::replace(options.begin(), options.end(), std::string("rbind"), std::string("bind"));
    plan_.mounts.push_back(
        KernelMount(mount, "cgroup", mount.destination + std::string(kCgroups.substr(place.size()))));
    return {};
  }

  Status PassBind(const oci::Mount& mount, const std::string& source) {
    PushBind(mount).source = source;
    return {};
  }

  Status Share(const oci::Mount& mount, const std::string& source, unsigned long source_flags) {
    const auto share = [&]() -> Status {
      const linux::MountOptions asked = TRY(linux::ParseMountOptions(mount.options));
      return AddShare(mount, source, asked, TRY(PlanBindAttributes(asked, source_flags, user_namespace_)));
    };
    TRY_CTX(share(), "mount '{}' on '{}'", mount.source, mount.destination);
    return {};
  }

  Status ShareOverlay(const oci::Mount& mount) {
    const linux::MountOptions asked = TRY(linux::ParseMountOptions(mount.options));
    const std::vector<OverlayDirectory> directories = OverlayDirectories(asked.data);
    for (const OverlayDirectory& directory : directories) TRY(CheckOverlayDirectory(directory));
    // A new mount: nothing that a source has, and no user namespace has locked anything.
    TRY(AddShare(mount, mount.source, asked, TRY(PlanBindAttributes(asked, MS_RELATIME, false))));
    plan_.shares.back().overlay = {.flags = asked.flags, .data = asked.data};
    std::vector<std::string>& options = plan_.mounts.back().options;
    const std::vector<std::string_view> generic = linux::MountOptionNames();
    std::erase_if(options, [&](const auto& option) { return !std::ranges::binary_search(generic, option); });
    // As the kernel makes such a file system; of that the guest sees nothing.
    if (std::ranges::find(directories, "upperdir", &OverlayDirectory::option) == directories.end())
      options.emplace_back("ro");
    return {};
  }

  // The kernel would not say which one is meant. A relative path would begin, as under runc, in the root file
  // system, whose symbolic links are the image's and may lead to anything on the host.
  Status CheckOverlayDirectory(const OverlayDirectory& directory) const {
    if (!directory.path.starts_with('/')) {
      return MakeError(Code::kInvalidArgument, "{} '{}' is no absolute path", directory.option,
                       directory.path);
    }
    const SourceInfo info = TRY_CTX(probe_(directory.path), "{}", directory.option);
    if (info.kind == SourceKind::kDirectory) return {};
    return ErrnoError(ENOTDIR, fmt::format("{} '{}'", directory.option, directory.path));
  }

  Status AddShare(const oci::Mount& mount, const std::string& source, const linux::MountOptions& asked,
                  const BindAttributes& attributes) {
    std::optional<oci::IdMap> id_map = TRY(oci::PlanIdMap(spec_, mount, asked));
    oci::Mount& bind = PushBind(mount);
    bind.options.insert(bind.options.end(), attributes.inherited.begin(), attributes.inherited.end());
    if (id_map) {
      bind.uid_mappings.clear();
      bind.gid_mappings.clear();
      std::erase_if(bind.options, [](const auto& option) { return option == "idmap" || option == "ridmap"; });
    }
    plan_.shares.push_back({.mount = plan_.mounts.size() - 1,
                            .source = source,
                            .destination = mount.destination,
                            .set = attributes.set,
                            .clear = attributes.clear,
                            .recursive_set = asked.recursive_set & MOUNT_ATTR_RDONLY,
                            .recursive = HasOption(mount, "rbind"),
                            .slave = IsSlave(mount),
                            .id_map = std::move(id_map)});
    return {};
  }

  const oci::Spec& spec_;
  const bool user_namespace_;
  const std::string& bundle_;
  const SourceProbe& probe_;
  MountPlan plan_;
};

}  // namespace

Result<SourceInfo> ProbeSource(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return SysError("read status of '{}'", path);
  SourceInfo info;
  switch (status.st_mode & S_IFMT) {
    case S_IFDIR:
      info.kind = SourceKind::kDirectory;
      break;
    case S_IFREG:
      info.kind = SourceKind::kRegularFile;
      break;
    case S_IFSOCK:
      info.kind = SourceKind::kSocket;
      break;
    case S_IFIFO:
      info.kind = SourceKind::kFifo;
      break;
    case S_IFCHR:
      info.kind = SourceKind::kCharacterDevice;
      break;
    case S_IFBLK:
      info.kind = SourceKind::kBlockDevice;
      break;
    default:
      return MakeError(Code::kInternal, "read status of '{}': unknown type of file", path);
  }
  info.mount_flags = TRY_CTX(linux::MountFlagsAt(TRY(Open(path, O_PATH)).get()), "'{}'", path);
  struct statfs file_system{};
  if (statfs(path.c_str(), &file_system) == 0 && file_system.f_type == TMPFS_MAGIC) {
    info.tmpfs_bytes =
        static_cast<uint64_t>(file_system.f_blocks) * static_cast<uint64_t>(file_system.f_bsize);
  }
  return info;
}

Result<MountPlan> PlanMounts(const oci::Spec& spec, const std::string& bundle, const SourceProbe& probe) {
  Planner planner(spec, bundle, probe);
  for (const oci::Mount& mount : spec.mounts) TRY(planner.Add(mount));
  return planner.Take();
}

}  // namespace kata::storage
