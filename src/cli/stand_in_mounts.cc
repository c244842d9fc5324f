#include "cli/stand_in_mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "linux/mounts.h"
#include "linux/rooted_path.h"
#include "oci/mounts.h"

namespace kata::cli {
namespace {

// Devices and kernel file systems are the guest's.
bool IsWanted(const oci::Mount& mount) {
  if (!oci::IsBind(mount)) return false;
  const std::string destination = oci::CleanAbsolutePath(mount.destination);
  return std::ranges::none_of(std::initializer_list<std::string_view>{"/proc", "/sys", "/dev"},
                              [&](std::string_view place) { return oci::IsAtOrBelow(destination, place); });
}

Status Bind(const oci::Mount& mount, const std::string& bundle, int root_fd) {
  const std::string path = mount.source.starts_with('/') ? mount.source : bundle + "/" + mount.source;
  const UniqueFd source = TRY(Open(path, O_PATH));
  struct stat info{};
  if (fstat(source.get(), &info) < 0) return SysError("stat '{}'", path);
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) return {};
  const UniqueFd place = TRY(S_ISDIR(info.st_mode) ? linux::MkdirAllInRoot(root_fd, mount.destination)
                                                   : linux::CreateFileInRoot(root_fd, mount.destination));
  const UniqueFd tree = TRY(linux::CloneMount(source.get(), "", /*recursive=*/true));
  if (oci::HasOption(mount, "ro")) TRY(linux::SetMountAttributes(tree.get(), MOUNT_ATTR_RDONLY, 0, true));
  return linux::AttachMount(tree.get(), place.get());
}

// On a thread that may change its root and mount namespace.
Result<linux::NamespaceFd> MakeHere(const Bundle& bundle) {
  TRY(linux::Unshare(CLONE_NEWNS));
  TRY(linux::Mount("", "/", "", MS_REC | MS_PRIVATE));
  linux::NamespaceFd made = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWNS));
  const UniqueFd rootfs = TRY(Open(bundle.rootfs, O_PATH | O_DIRECTORY));
  // On itself: the new root of pivot_root(2) must be a mount.
  const UniqueFd root = TRY(linux::CloneMount(rootfs.get(), "", /*recursive=*/true));
  TRY(linux::AttachMount(root.get(), rootfs.get()));
  for (const oci::Mount& mount : bundle.spec.mounts) {
    if (!IsWanted(mount)) continue;
    if (const Status bound = Bind(mount, bundle.path, root.get()); !bound) {
      log::Debug("a mount is not seen through kata-shim",
                 {{"destination", mount.destination}, {"error", bound.error().message()}});
    }
  }
  if (fchdir(root.get()) < 0) return SysError("change directory to '{}'", bundle.rootfs);
  // The old root then lies over the new one (pivot_root(2), NOTES), and goes.
  if (syscall(SYS_pivot_root, ".", ".") < 0) return SysError("make '{}' the root", bundle.rootfs);
  if (umount2(".", MNT_DETACH) < 0) return SysError("unmount the host's root");
  return made;
}

}  // namespace

Result<linux::NamespaceFd> MakeStandInMounts(const Bundle& bundle) {
  Result<linux::NamespaceFd> made = Error(Code::kInternal, "the thread did not run");
  std::thread([&] { made = MakeHere(bundle); }).join();
  if (!made) return std::move(made).error().Wrap("mount namespace of kata-shim");
  return made;
}

}  // namespace kata::cli
