// Mount option strings: the table of mount(8) and OCI runtimes.
#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "linux/mounts.h"

// Newer than the C library's header.
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace kata::linux {
namespace {

struct FlagOption {
  std::string_view name;
  bool clear;
  unsigned long flags;
};

constexpr FlagOption kFlagOptions[] = {
    {"async", true, MS_SYNCHRONOUS},
    {"atime", true, MS_NOATIME},
    {"bind", false, MS_BIND},
    {"defaults", false, 0},
    {"dev", true, MS_NODEV},
    {"diratime", true, MS_NODIRATIME},
    {"dirsync", false, MS_DIRSYNC},
    {"exec", true, MS_NOEXEC},
    {"iversion", false, MS_I_VERSION},
    {"lazytime", false, MS_LAZYTIME},
    {"loud", true, MS_SILENT},
    {"mand", false, MS_MANDLOCK},
    {"noatime", false, MS_NOATIME},
    {"nodev", false, MS_NODEV},
    {"nodiratime", false, MS_NODIRATIME},
    {"noexec", false, MS_NOEXEC},
    {"noiversion", true, MS_I_VERSION},
    {"nolazytime", true, MS_LAZYTIME},
    {"nomand", true, MS_MANDLOCK},
    {"norelatime", true, MS_RELATIME},
    {"nostrictatime", true, MS_STRICTATIME},
    {"nosuid", false, MS_NOSUID},
    {"nosymfollow", false, kNoSymFollow},
    {"rbind", false, MS_BIND | MS_REC},
    {"relatime", false, MS_RELATIME},
    {"remount", false, MS_REMOUNT},
    {"ro", false, MS_RDONLY},
    {"rw", true, MS_RDONLY},
    {"silent", false, MS_SILENT},
    {"strictatime", false, MS_STRICTATIME},
    {"suid", true, MS_NOSUID},
    {"symfollow", true, kNoSymFollow},
    {"sync", false, MS_SYNCHRONOUS},
};

struct PropagationOption {
  std::string_view name;
  unsigned long flags;
};

constexpr PropagationOption kPropagationOptions[] = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},       {"rshared", MS_SHARED | MS_REC},
    {"rslave", MS_SLAVE | MS_REC}, {"runbindable", MS_UNBINDABLE | MS_REC}, {"shared", MS_SHARED},
    {"slave", MS_SLAVE},           {"unbindable", MS_UNBINDABLE},
};

struct RecursiveOption {
  std::string_view name;
  bool clear;
  uint64_t attributes;
};

// An access-time mode replaces the whole field; its "no" form returns to the kernel's default, relatime
// (value 0).
constexpr RecursiveOption kRecursiveOptions[] = {
    {"ratime", true, MOUNT_ATTR_NOATIME},
    {"rdev", true, MOUNT_ATTR_NODEV},
    {"rdiratime", true, MOUNT_ATTR_NODIRATIME},
    {"rexec", true, MOUNT_ATTR_NOEXEC},
    {"rnoatime", false, MOUNT_ATTR_NOATIME},
    {"rnodev", false, MOUNT_ATTR_NODEV},
    {"rnodiratime", false, MOUNT_ATTR_NODIRATIME},
    {"rnoexec", false, MOUNT_ATTR_NOEXEC},
    {"rnorelatime", true, MOUNT_ATTR_RELATIME},
    {"rnostrictatime", true, MOUNT_ATTR_STRICTATIME},
    {"rnosuid", false, MOUNT_ATTR_NOSUID},
    {"rnosymfollow", false, MOUNT_ATTR_NOSYMFOLLOW},
    {"rrelatime", false, MOUNT_ATTR_RELATIME},
    {"rro", false, MOUNT_ATTR_RDONLY},
    {"rrw", true, MOUNT_ATTR_RDONLY},
    {"rstrictatime", false, MOUNT_ATTR_STRICTATIME},
    {"rsuid", true, MOUNT_ATTR_NOSUID},
    {"rsymfollow", true, MOUNT_ATTR_NOSYMFOLLOW},
};

constexpr std::string_view kCopyUp = "tmpcopyup";
constexpr std::string_view kIdMap = "idmap";
constexpr std::string_view kRecursiveIdMap = "ridmap";

template <typename Table>
const auto* Find(const Table& table, std::string_view name) {
  const auto* end = std::end(table);
  const auto* found = std::find_if(std::begin(table), end, [&](const auto& row) { return row.name == name; });
  return found == end ? nullptr : found;
}

void ApplyFlag(const FlagOption& option, MountOptions& result) {
  unsigned long& on = option.clear ? result.cleared : result.flags;
  unsigned long& off = option.clear ? result.flags : result.cleared;
  on |= option.flags;
  off &= ~option.flags;
}

void ApplyRecursive(const RecursiveOption& option, MountOptions& result) {
  const bool access_time =
      (option.attributes & MOUNT_ATTR__ATIME) != 0 || option.attributes == MOUNT_ATTR_RELATIME;
  if (access_time) {
    result.recursive_set &= ~static_cast<uint64_t>(MOUNT_ATTR__ATIME);
    result.recursive_clear |= MOUNT_ATTR__ATIME;
    if (!option.clear) result.recursive_set |= option.attributes;
    return;
  }
  (option.clear ? result.recursive_clear : result.recursive_set) |= option.attributes;
  (option.clear ? result.recursive_set : result.recursive_clear) &= ~option.attributes;
}

}  // namespace

uint64_t MountAttributes(unsigned long flags) {
  static constexpr std::pair<unsigned long, uint64_t> kAttributes[] = {
      {MS_RDONLY, MOUNT_ATTR_RDONLY},         {MS_NOSUID, MOUNT_ATTR_NOSUID},
      {MS_NODEV, MOUNT_ATTR_NODEV},           {MS_NOEXEC, MOUNT_ATTR_NOEXEC},
      {MS_NOATIME, MOUNT_ATTR_NOATIME},       {MS_STRICTATIME, MOUNT_ATTR_STRICTATIME},
      {MS_NODIRATIME, MOUNT_ATTR_NODIRATIME}, {kNoSymFollow, MOUNT_ATTR_NOSYMFOLLOW}};
  uint64_t attributes = 0;
  for (const auto& [flag, attribute] : kAttributes) {
    if ((flags & flag) != 0) attributes |= attribute;
  }
  return attributes;
}

Result<unsigned long> ParsePropagation(std::string_view name) {
  const PropagationOption* option = Find(kPropagationOptions, name);
  if (option == nullptr) return MakeError(Code::kInvalidArgument, "unknown mount propagation '{}'", name);
  return option->flags;
}

std::vector<std::string_view> MountOptionNames() {
  std::vector<std::string_view> names{kCopyUp, kIdMap, kRecursiveIdMap};
  for (const FlagOption& option : kFlagOptions) names.push_back(option.name);
  for (const PropagationOption& option : kPropagationOptions) names.push_back(option.name);
  for (const RecursiveOption& option : kRecursiveOptions) names.push_back(option.name);
  std::ranges::sort(names);
  return names;
}

Result<MountOptions> ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions result;
  for (const std::string& name : options) {
    if (const FlagOption* flag = Find(kFlagOptions, name)) {
      ApplyFlag(*flag, result);
    } else if (const PropagationOption* propagation = Find(kPropagationOptions, name)) {
      result.propagation.push_back(propagation->flags);
    } else if (const RecursiveOption* recursive = Find(kRecursiveOptions, name)) {
      ApplyRecursive(*recursive, result);
    } else if (name == kCopyUp) {
      result.copy_up = true;
    } else if (name == kIdMap || name == kRecursiveIdMap) {
      result.id_map = true;
      result.id_map_recursive |= name == kRecursiveIdMap;
    } else if (!name.empty()) {
      if (!result.data.empty()) result.data += ',';
      result.data += name;
    }
  }
  return result;
}

}  // namespace kata::linux
