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
  const UniqueFd target = TRY(S_ISDIR(info.st_mode) ? linux::MkdirAllInRoot(root.get(), destination_path)
                                                    : linux::CreateFileInRoot(root.get(), destination_path));
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
