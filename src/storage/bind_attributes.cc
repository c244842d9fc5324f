// PlanBindAttributes.
#include "storage/bind_attributes.h"

#include <sys/mount.h>

#include <cerrno>

namespace kata::storage {
namespace {

struct Attribute {
  unsigned long flag;
  const char* name;
  const char* opposite;
};

constexpr Attribute kLockable[] = {{MS_RDONLY, "ro", "rw"},
                                   {MS_NOSUID, "nosuid", "suid"},
                                   {MS_NODEV, "nodev", "dev"},
                                   {MS_NOEXEC, "noexec", "exec"}};
constexpr unsigned long kAccessTime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
// Not attributes of a mount.
constexpr unsigned long kOther = MS_BIND | MS_REC | MS_REMOUNT | MS_SILENT;

// The access times that options ask for: relatime unless they say another mode.
unsigned long AccessTime(unsigned long asked) {
  if ((asked & MS_NOATIME) != 0) return asked & (MS_NOATIME | MS_NODIRATIME);
  return (asked & MS_NODIRATIME) | ((asked & MS_STRICTATIME) != 0 ? 0 : MS_RELATIME);
}

void InheritAccessTime(unsigned long source, BindAttributes& result) {
  if ((source & MS_NOATIME) != 0) {
    result.inherited.emplace_back("noatime");
  } else if ((source & MS_RELATIME) == 0) {
    result.inherited.emplace_back("strictatime");
  }
  if ((source & MS_NODIRATIME) != 0) result.inherited.emplace_back("nodiratime");
}

}  // namespace

Result<BindAttributes> PlanBindAttributes(const linux::MountOptions& asked, unsigned long source,
                                          bool user_namespace) {
  BindAttributes result;
  const bool asks = (asked.flags & ~kOther) != 0 || asked.cleared != 0;
  bool read_only = (asked.flags & MS_RDONLY) != 0 || (asked.recursive_set & MOUNT_ATTR_RDONLY) != 0;
  for (const Attribute& attribute : kLockable) {
    if ((source & attribute.flag) == 0 || (asked.flags & attribute.flag) != 0) continue;
    if (user_namespace && (asked.cleared & attribute.flag) != 0) {
      return ErrnoError(EPERM, fmt::format("'{}' of a source that is mounted '{}', from a user namespace",
                                           attribute.opposite, attribute.name));
    }
    if (asks && !user_namespace) continue;
    result.inherited.emplace_back(attribute.name);
    if (attribute.flag == MS_RDONLY) read_only = true;
  }
  if (!asks && (source & linux::kNoSymFollow) != 0) result.inherited.emplace_back("nosymfollow");

  (read_only ? result.set : result.clear) |= MOUNT_ATTR_RDONLY;
  if ((asked.flags & kAccessTime) == 0) {
    InheritAccessTime(source, result);
  } else {
    if (user_namespace && AccessTime(asked.flags) != (source & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME)))
      return ErrnoError(EPERM, "other access times than its source has, from a user namespace");
    result.set |= linux::MountAttributes(asked.flags & kAccessTime);
    result.clear |= MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
  }
  return result;
}

}  // namespace kata::storage
