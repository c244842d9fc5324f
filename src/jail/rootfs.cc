// Everything is prepared by descriptors below the new root while the agent's /proc and /dev are still at
// hand.
#include "jail/rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "jail/console.h"
#include "jail/devices.h"
#include "linux/mountinfo.h"
#include "linux/rooted_path.h"

namespace kata::jail {
namespace {

// nullopt-like: an invalid descriptor where there is no such path.
Result<UniqueFd> OpenIfPresent(int root_fd, const std::string& path) {
  Result<UniqueFd> fd = linux::OpenInRoot(root_fd, path, O_PATH);
  if (!fd && (fd.error().sys_errno() == ENOENT || fd.error().sys_errno() == ENOTDIR)) return UniqueFd();
  return fd;
}

Result<UniqueFd> CloneNullDevice() {
  UniqueFd mount_fd = TRY(linux::CloneMount(AT_FDCWD, "/dev/null", false));
  struct stat info{};
  if (fstat(mount_fd.get(), &info) < 0) return SysError("read status of '/dev/null'");
  // A mask that could be written to or removed would be none.
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return MakeError(Code::kFailedPrecondition, "'/dev/null' is not the null device");
  }
  return mount_fd;
}

Status MaskPath(int root_fd, const std::string& path) {
  const UniqueFd target = TRY(OpenIfPresent(root_fd, path));
  if (!target) return {};
  struct stat info{};
  if (fstat(target.get(), &info) < 0) return SysError("read status");
  const UniqueFd cover =
      S_ISDIR(info.st_mode)
          ? TRY(linux::CreateMount("tmpfs", {{"nr_inodes", "1"}, {"mode", "755"}}, MOUNT_ATTR_RDONLY))
          : TRY(CloneNullDevice());
  return linux::AttachMount(cover.get(), target.get());
}

Status MakeReadOnly(int root_fd, const std::string& path) {
  const UniqueFd target = TRY(OpenIfPresent(root_fd, path));
  if (!target) return {};
  const UniqueFd copy = TRY(linux::CloneMount(target.get(), "", true));
  TRY(linux::SetMountAttributes(copy.get(), MOUNT_ATTR_RDONLY, 0, true));
  return linux::AttachMount(copy.get(), target.get());
}

Status ProtectPaths(const oci::Linux& section, int root_fd) {
  for (const std::string& path : section.readonly_paths) {
    TRY_CTX(MakeReadOnly(root_fd, path), "make '{}' read-only", path);
  }
  for (const std::string& path : section.masked_paths) TRY_CTX(MaskPath(root_fd, path), "mask '{}'", path);
  return {};
}

// Takes away what is mounted below the old root, which stays. Best effort, as all of that is out of reach:
// but it would keep file systems busy that the agent unmounts.
void UnmountBelow(int old_root_fd) {
  struct statx info{};
  if (statx(old_root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0 || (info.stx_mask & STATX_MNT_ID) == 0)
    return;
  const Result<std::vector<linux::MountInfo>> mounts = linux::ReadMountInfo();
  if (!mounts) return;
  for (const linux::MountInfo& mount : *mounts) {
    // "/" is the new root, mounted over the old one.
    if (mount.parent_id != static_cast<int>(info.stx_mnt_id) || mount.mount_point == "/") continue;
    (void)linux::Unmount(mount.mount_point, MNT_DETACH);
  }
}

// The new root is mounted over the old one, so that pivot_root(2) needs no directory for either.
Status SwitchRoot(int root_fd) {
  if (fchdir(root_fd) < 0) return SysError("change to the new root");
  const UniqueFd old_root = TRY(Open("/", O_PATH | O_DIRECTORY));
  if (syscall(SYS_pivot_root, ".", ".") == 0) {
    // "." is the new root with the old one mounted over it (pivot_root(2), "pivot_root(".", ".")").
    if (fchdir(old_root.get()) < 0) return SysError("change to the old root");
    TRY_CTX(linux::SetMountPropagation(old_root.get(), MS_SLAVE | MS_REC), "old root");
    if (umount2(".", MNT_DETACH) < 0) return SysError("unmount the old root");
  } else if (errno == EINVAL) {
    // The initial ramfs cannot be pivoted away. Covered by the mount it is out of reach: ".." ends at the new
    // root.
    UnmountBelow(old_root.get());
    if (chroot(".") < 0) return SysError("change root");
  } else {
    return SysError("pivot root");
  }
  if (chdir("/") < 0) return SysError("change to '/'");
  return {};
}

// As runc: "process.cwd" need not exist. What else is wrong with it is said when the process goes there.
Status MakeWorkingDirectory(int root_fd, const std::string& cwd) {
  const Result<UniqueFd> present = linux::OpenInRoot(root_fd, cwd, O_PATH | O_DIRECTORY);
  if (present || present.error().sys_errno() != ENOENT) return {};
  TRY_CTX(linux::MkdirAllInRoot(root_fd, cwd), "make working directory '{}'", cwd);
  return {};
}

Status SetRootPropagation(const oci::Spec& spec) {
  if (!spec.linux || spec.linux->rootfs_propagation.empty()) return {};
  const unsigned long propagation = TRY(linux::ParsePropagation(spec.linux->rootfs_propagation));
  const UniqueFd root = TRY(Open("/", O_PATH | O_DIRECTORY));
  TRY_CTX(linux::SetMountPropagation(root.get(), propagation), "root propagation '{}'",
          spec.linux->rootfs_propagation);
  return {};
}

}  // namespace

Result<linux::PtyPair> EnterRootfs(const oci::Spec& spec, const std::vector<MountStep>& steps,
                                   DetachedMounts mounts) {
  const UniqueFd old_root = TRY(Open("/", O_PATH | O_DIRECTORY));
  TRY_CTX(linux::SetMountPropagation(old_root.get(), MS_SLAVE | MS_REC), "old root");
  TRY_CTX(linux::AttachMount(mounts.rootfs.get(), old_root.get()), "root file system");
  const UniqueFd root = std::move(mounts.rootfs);

  const mode_t old_umask = umask(0);
  const std::vector<UniqueFd> read_only_late = TRY(PerformMounts(root.get(), steps, mounts));
  if (NeedsDevices(spec)) {
    TRY(CreateDevices(root.get(), DevicesOf(spec), mounts.devices));
    TRY(CreateDeviceLinks(root.get()));
  }
  linux::PtyPair terminal;
  if (spec.process->terminal) {
    terminal = TRY(OpenTerminal(root.get(), spec.process->console_size));
    TRY(AttachConsole(root.get(), terminal.slave.get()));
  }
  TRY(MakeWorkingDirectory(root.get(), spec.process->cwd));
  umask(old_umask);

  if (spec.linux) TRY(ProtectPaths(*spec.linux, root.get()));
  TRY_CTX(FinishMounts(read_only_late), "make mounts read-only");
  if (spec.root && spec.root->readonly) {
    TRY_CTX(linux::SetMountAttributes(root.get(), MOUNT_ATTR_RDONLY, 0, false), "make root read-only");
  }
  TRY(SwitchRoot(root.get()));
  TRY(SetRootPropagation(spec));
  return terminal;
}

}  // namespace kata::jail
