// Mounts by descriptor: the target is opened inside the root once, and the mount is attached to what was
// opened, so that no symbolic link changed meanwhile (in a volume shared with a running container) leads
// elsewhere.
#include "jail/mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>

#include <linux/magic.h>
#include <linux/openat2.h>

#include "base/file.h"
#include "jail/copy_up.h"
#include "linux/rooted_path.h"

namespace kata::jail {
namespace {

Result<struct stat> Stat(int fd) {
  struct stat info{};
  if (fstat(fd, &info) < 0) return SysError("read status of file descriptor {}", fd);
  return info;
}

Status ApplyAttributes(int mount_fd, const MountStep& step) {
  const uint64_t set = step.read_only_late ? step.set & ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY) : step.set;
  if (set != 0 || step.clear != 0) TRY(linux::SetMountAttributes(mount_fd, set, step.clear, false));
  if (step.options.recursive_set != 0 || step.options.recursive_clear != 0) {
    TRY(linux::SetMountAttributes(mount_fd, step.options.recursive_set, step.options.recursive_clear, true));
  }
  return {};
}

Status ApplyPropagation(int mount_fd, const MountStep& step) {
  for (const unsigned long propagation : step.options.propagation) {
    TRY(linux::SetMountPropagation(mount_fd, propagation));
  }
  return {};
}

// A volume must not land inside of a proc file system by way of a symbolic link of the image.
Status CheckTarget(int target_fd, const MountStep& step) {
  struct statfs info{};
  if (fstatfs(target_fd, &info) < 0) return SysError("read file system of mount point");
  const bool in_proc = info.f_type == PROC_SUPER_MAGIC;
  if (in_proc && step.destination != "/proc" && !step.destination.starts_with("/proc/")) {
    return MakeError(Code::kInvalidArgument, "the destination leads into /proc");
  }
  return {};
}

// Else masked and read-only paths below would protect nothing, and programs would take a volume for the
// kernel.
Status CheckProcSource(int source_fd, const MountStep& step) {
  if (step.destination != "/proc" || step.kind != MountStep::Kind::kBind) return {};
  struct statfs info{};
  if (fstatfs(source_fd, &info) < 0) return SysError("read file system of source");
  if (info.f_type == PROC_SUPER_MAGIC) return {};
  // The words that runc and its users know.
  return MakeError(Code::kInvalidArgument, "\"{}\" cannot be mounted because it is not of type proc",
                   step.destination);
}

// tmpfs takes over the mode of the directory it covers unless told another; on one that was made for it, it
// is open to everybody, as the kernel makes it and runc leaves it.
Result<UniqueFd> CreateTmpfs(const MountStep& step, int target_fd, bool target_made) {
  auto parameters = step.parameters;
  const bool has_mode =
      std::any_of(parameters.begin(), parameters.end(), [](const auto& p) { return p.first == "mode"; });
  if (!has_mode && !target_made) {
    const struct stat info = TRY(Stat(target_fd));
    parameters.emplace_back("mode", fmt::format("{:o}", info.st_mode & 07777));
  }
  if (!step.source.empty()) parameters.emplace_back("source", step.source);
  UniqueFd mount_fd = TRY(linux::CreateMount("tmpfs", parameters, 0));
  if (step.options.copy_up) TRY_CTX(CopyTree(target_fd, mount_fd.get()), "copy up");
  return mount_fd;
}

Result<UniqueFd> CreateFileSystem(const MountStep& step) {
  auto parameters = step.parameters;
  if (!step.source.empty()) parameters.emplace_back("source", step.source);
  return linux::CreateFileSystem(step.type, parameters);
}

Result<UniqueFd> CreateMount(const MountStep& step, UniqueFd file_system, int target_fd, bool target_made) {
  if (step.kind == MountStep::Kind::kCgroup) return linux::CreateMount("cgroup2", {{"source", "cgroup"}}, 0);
  if (step.type == "tmpfs") return CreateTmpfs(step, target_fd, target_made);
  if (!file_system) file_system = TRY(CreateFileSystem(step));
  return TRY_CTX(linux::MountFileSystem(file_system.get(), 0), "type '{}'", step.type);
}

Status Remount(const MountStep& step, int target_fd) {
  TRY(ApplyAttributes(target_fd, step));
  if (!step.options.IsBind() && !step.options.data.empty()) {
    const unsigned long flags = MS_REMOUNT | (step.options.flags & ~static_cast<unsigned long>(MS_REC));
    TRY(linux::Mount({}, linux::FdPath(target_fd), {}, flags, step.options.data));
  }
  return ApplyPropagation(target_fd, step);
}

Result<UniqueFd> DetachSource(const MountStep& step, const std::string& source) {
  UniqueFd mount_fd = TRY(linux::CloneMount(AT_FDCWD, source, (step.options.flags & MS_REC) != 0));
  TRY(ApplyAttributes(mount_fd.get(), step));
  return mount_fd;
}

// Returns the attached mount.
Result<UniqueFd> PerformMount(int root_fd, const MountStep& step, UniqueFd source, UniqueFd file_system) {
  if (step.kind == MountStep::Kind::kRemount) {
    UniqueFd target = TRY(linux::OpenInRoot(root_fd, step.destination, O_PATH));
    TRY(Remount(step, target.get()));
    return target;
  }
  if (step.kind == MountStep::Kind::kBind && !source) source = TRY(DetachSource(step, step.source));
  bool directory = true;
  if (source) {
    TRY(CheckProcSource(source.get(), step));
    directory = S_ISDIR(TRY(Stat(source.get())).st_mode);
  }
  const bool target_made = !linux::OpenInRoot(root_fd, step.destination, O_PATH);
  const UniqueFd target =
      TRY_CTX(OpenMountPoint(root_fd, step.destination, directory, step.no_symlinks), "make mount point");
  TRY(CheckTarget(target.get(), step));
  // As mount(2) says it; move_mount(2) has EINVAL, and engines explain this mistake to their users.
  if (!directory && S_ISDIR(TRY(Stat(target.get())).st_mode)) return ErrnoError(ENOTDIR, "a file is mounted");
  UniqueFd mount_fd = std::move(source);
  // A copy has its attributes already.
  if (!mount_fd) {
    mount_fd = TRY(CreateMount(step, std::move(file_system), target.get(), target_made));
    TRY(ApplyAttributes(mount_fd.get(), step));
  }
  TRY(ApplyPropagation(mount_fd.get(), step));
  TRY(linux::AttachMount(mount_fd.get(), target.get()));
  return mount_fd;
}

Status MapIds(const MountStep& step, int mount_fd) {
  if (!step.id_map) return {};
  const linux::NamespaceFd user = TRY(oci::OpenIdMap(*step.id_map));
  return linux::MapMountIds(mount_fd, user.get(), step.id_map->recursive);
}

}  // namespace

Result<UniqueFd> OpenMountPoint(int root_fd, const std::string& destination, bool directory,
                                bool no_symlinks) {
  if (no_symlinks) {
    Result<UniqueFd> plain = linux::OpenAt2(root_fd, destination.substr(1), O_PATH | O_DIRECTORY,
                                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    // The words that runc and its users know.
    if (!plain && (plain.error().sys_errno() == ELOOP || plain.error().sys_errno() == ENOTDIR))
      return MakeError(Code::kInvalidArgument, "'{}' must be mounted on ordinary directory", destination);
    if (plain || plain.error().sys_errno() != ENOENT) return plain;
  }
  if (!directory) return linux::CreateFileInRoot(root_fd, destination);
  return linux::MkdirAllInRoot(root_fd, destination);
}

Result<DetachedMounts> DetachMounts(const std::string& rootfs, const std::vector<MountStep>& steps,
                                    bool user_namespace, const std::string& cgroup_source) {
  DetachedMounts mounts;
  mounts.rootfs = TRY_CTX(linux::CloneMount(AT_FDCWD, rootfs, true), "root file system");
  // pivot_root(2) wants a root that is not shared; mounts made later on the agent's side still arrive.
  TRY_CTX(linux::SetMountPropagation(mounts.rootfs.get(), MS_SLAVE | MS_REC), "root file system");
  mounts.sources.resize(steps.size());
  mounts.file_systems.resize(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    const MountStep& step = steps[i];
    if (step.kind == MountStep::Kind::kBind && (user_namespace || step.id_map)) {
      mounts.sources[i] =
          TRY_CTX(DetachSource(step, step.source), "mount '{}' on '{}'", step.source, step.destination);
      TRY_CTX(MapIds(step, mounts.sources[i].get()), "mount '{}' on '{}'", step.source, step.destination);
    } else if (step.kind == MountStep::Kind::kCgroup && !cgroup_source.empty()) {
      mounts.sources[i] =
          TRY_CTX(DetachSource(step, cgroup_source), "mount cgroup on '{}'", step.destination);
    }
  }
  return mounts;
}

Status CreateForeignFileSystems(const NamespacePlan& namespaces, const std::vector<MountStep>& steps,
                                DetachedMounts& mounts) {
  if ((namespaces.AllFlags() & CLONE_NEWUSER) == 0) return {};
  static constexpr std::pair<std::string_view, int> kOwned[] = {{"mqueue", CLONE_NEWIPC},
                                                                {"sysfs", CLONE_NEWNET}};
  for (size_t i = 0; i < steps.size(); ++i) {
    const MountStep& step = steps[i];
    const auto* owned = std::find_if(std::begin(kOwned), std::end(kOwned),
                                     [&](const auto& o) { return o.first == step.type; });
    if (step.kind != MountStep::Kind::kFileSystem || owned == std::end(kOwned) ||
        namespaces.Creates(owned->second)) {
      continue;
    }
    mounts.file_systems[i] =
        TRY_CTX(CreateFileSystem(step), "mount '{}' on '{}'", step.type, step.destination);
  }
  return {};
}

Result<std::vector<UniqueFd>> PerformMounts(int root_fd, const std::vector<MountStep>& steps,
                                            DetachedMounts& mounts) {
  std::vector<UniqueFd> read_only_late;
  for (size_t i = 0; i < steps.size(); ++i) {
    const MountStep& step = steps[i];
    UniqueFd mount_fd =
        TRY_CTX(PerformMount(root_fd, step, std::move(mounts.sources[i]), std::move(mounts.file_systems[i])),
                "mount '{}' on '{}'", step.source.empty() ? step.type : step.source, step.destination);
    if (step.read_only_late && (step.set & MOUNT_ATTR_RDONLY) != 0)
      read_only_late.push_back(std::move(mount_fd));
  }
  return read_only_late;
}

Status FinishMounts(const std::vector<UniqueFd>& read_only_late) {
  for (const UniqueFd& mount_fd : read_only_late) {
    TRY(linux::SetMountAttributes(mount_fd.get(), MOUNT_ATTR_RDONLY, 0, false));
  }
  return {};
}

}  // namespace kata::jail
