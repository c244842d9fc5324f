// What an entry of "mounts" asks for.
#pragma once

#include <string>
#include <string_view>

#include "linux/mounts.h"
#include "oci/spec.h"

namespace kata::oci {

enum class MountKind {
  kBind,        // what the source shows
  kFileSystem,  // a new file system
  kCgroup,      // the cgroup hierarchy as the container may see it
  kRemount,     // new attributes for what is mounted at the destination already
};

// `options`: those of the mount.
MountKind KindOf(const Mount& mount, const linux::MountOptions& options);

// "/a/./b/../c//" -> "/a/c"; ".." at the root stays there. A relative path means below "/": not what the
// specification wants, but what runtimes have always done.
std::string CleanAbsolutePath(const std::string& path);

// Whether a clean absolute path is `parent` or lies below it.
bool IsAtOrBelow(std::string_view path, std::string_view parent);

bool HasOption(const Mount& mount, std::string_view name);

// By its type or an option, as runtimes tell.
bool IsBind(const Mount& mount);

}  // namespace kata::oci
