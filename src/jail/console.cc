// The terminal must belong to the container's devpts: only there do its programs find it by name, and only
// there does the container's user see whose it is.
#include "jail/console.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include <linux/magic.h>

#include "linux/mounts.h"
#include "linux/rooted_path.h"

namespace kata::jail {

Result<linux::PtyPair> OpenTerminal(int root_fd, const std::optional<oci::ConsoleSize>& size) {
  const UniqueFd devpts =
      TRY_CTX(linux::OpenInRoot(root_fd, "dev/pts", O_PATH | O_DIRECTORY), "make terminal");
  struct statfs info{};
  if (fstatfs(devpts.get(), &info) < 0) return SysError("make terminal: read file system of '/dev/pts'");
  if (info.f_type != DEVPTS_SUPER_MAGIC)
    return MakeError(Code::kFailedPrecondition, "make terminal: no devpts is mounted on '/dev/pts'");
  linux::PtyPair pty = TRY_CTX(linux::OpenPtyAt(devpts.get()), "make terminal");
  if (size && (size->height > 0 || size->width > 0)) {
    const linux::WindowSize window{static_cast<uint16_t>(std::min(size->height, 0xffffu)),
                                   static_cast<uint16_t>(std::min(size->width, 0xffffu))};
    TRY_CTX(linux::SetWindowSize(pty.master.get(), window), "make terminal");
  }
  return pty;
}

Status AttachConsole(int root_fd, int slave_fd) {
  const UniqueFd target =
      TRY_CTX(linux::CreateFileInRoot(root_fd, "dev/console", 0600), "create '/dev/console'");
  const UniqueFd console =
      TRY_CTX(linux::CloneMount(slave_fd, "", false), "mount terminal on '/dev/console'");
  TRY_CTX(linux::AttachMount(console.get(), target.get()), "mount terminal on '/dev/console'");
  return {};
}

Status UseAsStdio(int slave_fd) {
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(slave_fd, fd) < 0) return SysError("make terminal the standard streams");
  }
  return {};
}

}  // namespace kata::jail
