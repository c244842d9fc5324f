// Mounts: mount(2), the mount API by file descriptors (fsopen(2), open_tree(2), mount_setattr(2)), and the
// option strings of fstab and OCI specifications.
#pragma once

#include <sys/mount.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// mount(2). Empty strings are passed as "none" (source) or nullptr (type, data). Errors read
// "mount 'source' on 'target': cause".
Status Mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data = {});

// umount2(2) with UMOUNT_NOFOLLOW added. A target that is not mounted is an error (EINVAL).
Status Unmount(const std::string& target, int flags = 0);

// Unmounts everything stacked on and below `target`, detached (MNT_DETACH); nothing mounted there is success.
Status UnmountAll(const std::string& target);

// "/proc/self/fd/<fd>": names what a descriptor refers to for calls that know only paths, free of races.
std::string FdPath(int fd);

// MS_NOSYMFOLLOW, newer than the C library's header.
inline constexpr unsigned long kNoSymFollow = 256;

// What a list of option strings means. Bits that an option clears ("rw", "dev") are kept apart from those
// never mentioned, as a remount of a bind mount must keep the latter.
struct MountOptions {
  unsigned long flags = 0;    // MS_* to set, MS_BIND and MS_REC included
  unsigned long cleared = 0;  // MS_* asked to be off; a bit is never in both
  std::vector<unsigned long>
      propagation;             // MS_PRIVATE ..., perhaps with MS_REC, each by a mount(2) of its own
  uint64_t recursive_set = 0;  // MOUNT_ATTR_* for mount_setattr(AT_RECURSIVE): "rro", "rnosuid" ...
  uint64_t recursive_clear = 0;
  bool copy_up = false;           // "tmpcopyup": the tmpfs starts with what its mount point holds
  bool id_map = false;            // "idmap", "ridmap": owners are shown through a user namespace
  bool id_map_recursive = false;  // "ridmap"
  std::string data;               // the rest, joined with commas, for the file system

  bool IsBind() const { return (flags & MS_BIND) != 0; }
  bool IsRemount() const { return (flags & MS_REMOUNT) != 0; }
};

// Accepts the option names of mount(8) and runc.
Result<MountOptions> ParseMountOptions(const std::vector<std::string>& options);
// Those of which it knows the meaning, in alphabetical order: all others are left to the file system.
std::vector<std::string_view> MountOptionNames();

// MS_NOSUID ... -> MOUNT_ATTR_NOSUID ...; flags that belong to the file system are left out.
uint64_t MountAttributes(unsigned long flags);

// "shared", "rshared", "slave", ... as in OCI's rootfsPropagation: MS_* flags, MS_REC for the r forms.
Result<unsigned long> ParsePropagation(std::string_view name);

// The MS_* mount options in force at `fd` (any descriptor, also O_PATH), from fstatvfs(3): read-only, nosuid,
// nodev, noexec, nosymfollow, atime modes. A remount in a user namespace must repeat those that are locked.
Result<unsigned long> MountFlagsAt(int fd);

// A detached copy of the mount at `path` relative to `dirfd` (open_tree(2) with OPEN_TREE_CLONE); it vanishes
// with the descriptor unless attached. `path` empty: of `dirfd` itself.
Result<UniqueFd> CloneMount(int dirfd, const std::string& path, bool recursive);

// A new file system as a context of fsopen(2), created with the rights of the caller. `parameters`: key and
// value, an empty value for a flag. The kernel's own message of a failure (fsopen(2), "e ...") is part of the
// error.
Result<UniqueFd> CreateFileSystem(const std::string& type,
                                  const std::vector<std::pair<std::string, std::string>>& parameters);
// Its mount, attached nowhere yet; once for each context. `attributes`: MOUNT_ATTR_*.
Result<UniqueFd> MountFileSystem(int context_fd, uint64_t attributes);
// Both at once.
Result<UniqueFd> CreateMount(const std::string& type,
                             const std::vector<std::pair<std::string, std::string>>& parameters,
                             uint64_t attributes);

// Attaches a detached mount on what `target_fd` refers to.
Status AttachMount(int mount_fd, int target_fd);

// mount_setattr(2) on the mount that `fd` refers to. `set`, `clear`: MOUNT_ATTR_*.
Status SetMountAttributes(int fd, uint64_t set, uint64_t clear, bool recursive);

// Shows the owners of files through a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP): an id of the file
// system counts as one inside of the namespace. The mount must be detached still, its file system must
// support it.
Status MapMountIds(int mount_fd, int user_namespace_fd, bool recursive);

// Propagation of the mount that `fd` refers to: MS_PRIVATE, MS_SLAVE ..., with MS_REC for all mounts below.
Status SetMountPropagation(int fd, unsigned long propagation);

// A mount that is unmounted, detached, on destruction.
class ScopedMount {
 public:
  ScopedMount() = default;
  // Takes over what is mounted on `target`.
  explicit ScopedMount(std::string target) : target_(std::move(target)) {}
  ScopedMount(ScopedMount&& other) noexcept : target_(std::exchange(other.target_, {})) {}
  ScopedMount& operator=(ScopedMount&& other) noexcept;
  ScopedMount(const ScopedMount&) = delete;
  ScopedMount& operator=(const ScopedMount&) = delete;
  ~ScopedMount();

  const std::string& target() const { return target_; }
  // Unmounts now and tells how it went.
  Status Unmount();
  // Leaves the mount in place.
  std::string Release() { return std::exchange(target_, {}); }

 private:
  std::string target_;
};

}  // namespace kata::linux
