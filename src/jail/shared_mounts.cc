#include "jail/shared_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "base/file.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "linux/rooted_path.h"

namespace kata::jail {
namespace {

constexpr std::chrono::milliseconds kLookInterval{100};

// setns(2) into a mount namespace makes its root this thread's.
Result<UniqueFd> EnterRootOf(int pidfd) {
  TRY(linux::EnterNamespacesOf(pidfd, CLONE_NEWNS));
  return Open("/", O_PATH | O_DIRECTORY);
}

Result<bool> IsMountPoint(int fd) {
  struct statx info{};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &info) < 0) return SysError("read status");
  return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Result<UniqueFd> AwaitMount(int root_fd, const std::string& path, Deadline deadline) {
  for (;;) {
    Result<UniqueFd> fd = linux::OpenInRoot(root_fd, path, O_PATH);
    if (fd && TRY(IsMountPoint(fd->get()))) return fd;
    if (!fd && fd.error().sys_errno() != ENOENT) return fd;
    if (deadline.Passed()) return MakeError(Code::kDeadlineExceeded, "nothing is mounted on '{}'", path);
    std::this_thread::sleep_for(kLookInterval);
  }
}

Result<uint64_t> MountId(int fd) {
  struct statx info{};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0) return SysError("read status");
  return info.stx_mnt_id;
}

// Whether what exists of the path lies on the root's own mount.
Result<bool> IsOnRoot(int root_fd, std::string path) {
  for (;;) {
    const Result<UniqueFd> existing = linux::OpenInRoot(root_fd, path, O_PATH);
    if (existing) return TRY(MountId(existing->get())) == TRY(MountId(root_fd));
    const size_t slash = path.find_last_of('/');
    if (existing.error().sys_errno() != ENOENT || slash == std::string::npos) return false;
    path.resize(slash);
    if (path.empty()) return true;
  }
}

Result<UniqueFd> OpenDestination(int root_fd, const std::string& path, bool directory) {
  const auto make = [&](int fd) {
    return directory ? linux::MkdirAllInRoot(fd, path) : linux::CreateFileInRoot(fd, path);
  };
  Result<UniqueFd> target = make(root_fd);
  if (target || target.error().sys_errno() != EROFS || !TRY(IsOnRoot(root_fd, path))) return target;
  // As when a container is set up, mount points are made though its root is to be read-only.
  const UniqueFd writable = TRY(linux::CloneMount(root_fd, "", false));
  TRY(linux::SetMountAttributes(writable.get(), 0, MOUNT_ATTR_RDONLY, false));
  TRY(make(writable.get()));
  return linux::OpenInRoot(root_fd, path, O_PATH);
}

Status ShareMountHere(int source_pidfd, const std::string& source_path, int destination_pidfd,
                      const std::string& destination_path, Deadline deadline) {
  // setns(2) into a mount namespace refuses a thread whose fs_struct is shared.
  TRY(linux::Unshare(CLONE_FS));
  UniqueFd mount_fd;
  struct stat info{};
  {
    const UniqueFd root = TRY(EnterRootOf(source_pidfd));
    const UniqueFd source = TRY(AwaitMount(root.get(), source_path, deadline));
    if (fstat(source.get(), &info) < 0) return SysError("read status of '{}'", source_path);
    mount_fd = TRY(linux::CloneMount(source.get(), "", true));
  }
  const UniqueFd root = TRY(EnterRootOf(destination_pidfd));
  const UniqueFd target = TRY(OpenDestination(root.get(), destination_path, S_ISDIR(info.st_mode)));
  return linux::AttachMount(mount_fd.get(), target.get());
}

}  // namespace

Status ShareMount(int source_pidfd, const std::string& source_path, int destination_pidfd,
                  const std::string& destination_path, Deadline deadline) {
  Status status;
  // A thread of its own, as it does not come back from where it goes.
  std::thread([&] {
    status = ShareMountHere(source_pidfd, source_path, destination_pidfd, destination_path, deadline);
  }).join();
  if (!status)
    return std::move(status).error().Wrap(
        fmt::format("share mount '{}' at '{}'", source_path, destination_path));
  return {};
}

}  // namespace kata::jail
