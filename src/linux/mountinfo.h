// The mounts of a process as /proc/<pid>/mountinfo tells them (proc(5)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::linux {

// A line holds two paths of at most PATH_MAX, each byte perhaps as "\ooo", and the options.
inline constexpr size_t kMaxMountInfoLine = 64u << 10;
inline constexpr size_t kMaxMountInfoBytes = 32u << 20;

struct MountInfo {
  int id = 0;
  int parent_id = 0;
  unsigned major = 0;
  unsigned minor = 0;
  std::string root;                          // of the mount within its file system
  std::string mount_point;                   // relative to the process's root
  std::string options;                       // of the mount: "rw,nosuid"
  std::vector<std::string> optional_fields;  // "shared:1", "master:2"
  std::string fs_type;
  std::string source;
  std::string super_options;

  // Whether `options` or `super_options` has this word, e.g. "ro".
  bool HasOption(std::string_view name) const;
  bool HasSuperOption(std::string_view name) const;
};

// One line, with or without its line end. kInvalidArgument where the form is wrong or the line is too long.
Result<MountInfo> ParseMountInfoLine(std::string_view line);
// Whole content, in the kernel's order: a mount stands behind the one it covers.
Result<std::vector<MountInfo>> ParseMountInfo(std::string_view text);
Result<std::vector<MountInfo>> ReadMountInfo(const std::string& path = "/proc/self/mountinfo");

// The topmost mount exactly on `mount_point`, or nullptr.
const MountInfo* FindMount(const std::vector<MountInfo>& mounts, std::string_view mount_point);

}  // namespace kata::linux
