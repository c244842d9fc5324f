// Mount system calls with their errors named.
#include "linux/mounts.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace kata::linux {
namespace {

// ST_NOSYMFOLLOW of <linux/statfs.h>, which the C library does not know.
constexpr unsigned long kNoSymFollowStatus = 0x2000;

// The last message that the kernel left for a file system context: lines "e text", "w text", "i text".
std::string ContextMessage(int context_fd) {
  std::string last;
  char line[512];
  // Bounded: the kernel keeps at most 8 messages for a context.
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = read(context_fd, line, sizeof(line));
    if (n <= 0) break;
    if (n > 2 && line[0] == 'e') last.assign(line + 2, static_cast<size_t>(n - 2));
  }
  while (!last.empty() && last.back() == '\n') last.pop_back();
  return last;
}

Error ContextError(int saved_errno, int context_fd, std::string action) {
  const std::string message = ContextMessage(context_fd);
  if (!message.empty()) action += fmt::format(": {}", message);
  return ErrnoError(saved_errno, action);
}

}  // namespace

Status Mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data) {
  const char* source_arg = source.empty() ? "none" : source.c_str();
  const char* type_arg = type.empty() ? nullptr : type.c_str();
  const char* data_arg = data.empty() ? nullptr : data.c_str();
  if (mount(source_arg, target.c_str(), type_arg, flags, data_arg) < 0) {
    return SysError("mount '{}' on '{}'", source_arg, target);
  }
  return {};
}

Status Unmount(const std::string& target, int flags) {
  if (umount2(target.c_str(), flags | UMOUNT_NOFOLLOW) < 0) return SysError("unmount '{}'", target);
  return {};
}

Status UnmountAll(const std::string& target) {
  // One round for each mount stacked on the target; the bound only guards against one that comes back for
  // ever.
  for (int i = 0; i < 1024; ++i) {
    if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EINVAL || errno == ENOENT) return {};
    return SysError("unmount '{}'", target);
  }
  return MakeError(Code::kInternal, "unmount '{}': mounts keep appearing", target);
}

std::string FdPath(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

Result<unsigned long> MountFlagsAt(int fd) {
  struct statvfs info{};
  if (fstatvfs(fd, &info) < 0) return SysError("read mount flags of file descriptor {}", fd);
  static constexpr std::pair<unsigned long, unsigned long> kFlags[] = {
      {ST_RDONLY, MS_RDONLY},     {ST_NOSUID, MS_NOSUID},
      {ST_NODEV, MS_NODEV},       {ST_NOEXEC, MS_NOEXEC},
      {ST_NOATIME, MS_NOATIME},   {ST_NODIRATIME, MS_NODIRATIME},
      {ST_RELATIME, MS_RELATIME}, {kNoSymFollowStatus, kNoSymFollow},
  };
  unsigned long flags = 0;
  for (const auto& [statvfs_flag, mount_flag] : kFlags) {
    if ((info.f_flag & statvfs_flag) != 0) flags |= mount_flag;
  }
  return flags;
}

Result<UniqueFd> CloneMount(int dirfd, const std::string& path, bool recursive) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                         (path.empty() ? AT_EMPTY_PATH : 0);
  UniqueFd fd(open_tree(dirfd, path.c_str(), flags));
  if (!fd) return SysError("clone mount '{}'", path.empty() ? FdPath(dirfd) : path);
  return fd;
}

Result<UniqueFd> CreateFileSystem(const std::string& type,
                                  const std::vector<std::pair<std::string, std::string>>& parameters) {
  UniqueFd context(fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return SysError("create file system '{}'", type);
  for (const auto& [key, value] : parameters) {
    const int rc = value.empty()
                       ? fsconfig(context.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0)
                       : fsconfig(context.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0);
    if (rc < 0)
      return ContextError(errno, context.get(), fmt::format("set '{}' of file system '{}'", key, type));
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    return ContextError(errno, context.get(), fmt::format("create file system '{}'", type));
  }
  return context;
}

Result<UniqueFd> MountFileSystem(int context_fd, uint64_t attributes) {
  UniqueFd mount_fd(fsmount(context_fd, FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount_fd) return ContextError(errno, context_fd, "mount file system");
  return mount_fd;
}

Result<UniqueFd> CreateMount(const std::string& type,
                             const std::vector<std::pair<std::string, std::string>>& parameters,
                             uint64_t attributes) {
  const UniqueFd context = TRY(CreateFileSystem(type, parameters));
  return TRY_CTX(MountFileSystem(context.get(), attributes), "type '{}'", type);
}

Status AttachMount(int mount_fd, int target_fd) {
  if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return SysError("attach mount");
  }
  return {};
}

Status SetMountAttributes(int fd, uint64_t set, uint64_t clear, bool recursive) {
  struct mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  // The three access-time modes are one field: setting one needs the field cleared (mount_setattr(2)).
  if ((set & MOUNT_ATTR__ATIME) != 0 || (clear & MOUNT_ATTR__ATIME) != 0)
    attributes.attr_clr |= MOUNT_ATTR__ATIME;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (mount_setattr(fd, "", flags, &attributes, sizeof(attributes)) < 0)
    return SysError("set mount attributes");
  return {};
}

Status MapMountIds(int mount_fd, int user_namespace_fd, bool recursive) {
  struct mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace_fd);
  const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (mount_setattr(mount_fd, "", flags, &attributes, sizeof(attributes)) == 0) return {};
  if (errno == EINVAL) return ErrnoError(errno, "map ids: the file system does not support it");
  return SysError("map ids");
}

Status SetMountPropagation(int fd, unsigned long propagation) {
  struct mount_attr attributes{};
  attributes.propagation = propagation & ~static_cast<unsigned long>(MS_REC);
  const unsigned flags = AT_EMPTY_PATH | ((propagation & MS_REC) != 0 ? AT_RECURSIVE : 0);
  if (mount_setattr(fd, "", flags, &attributes, sizeof(attributes)) < 0)
    return SysError("set mount propagation");
  return {};
}

ScopedMount& ScopedMount::operator=(ScopedMount&& other) noexcept {
  if (this != &other) {
    (void)Unmount();
    target_ = std::exchange(other.target_, {});
  }
  return *this;
}

ScopedMount::~ScopedMount() {
  (void)Unmount();
}

Status ScopedMount::Unmount() {
  if (target_.empty()) return {};
  return linux::Unmount(std::exchange(target_, {}), MNT_DETACH);
}

}  // namespace kata::linux
