// The control group hierarchies of this host, and where this process is in them (cgroups(7)).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::cgroup {

struct Hierarchy {
  std::string mount_point;
  std::string own_path;  // of this process's cgroup, below the mount point: "/", "/docker/c1"
};

// Version 2 alone, or all hierarchies of version 1.
struct Hierarchies {
  bool unified = false;
  // By what /proc/<pid>/cgroup calls them: "memory", "cpu,cpuacct", "name=systemd"; the unified one is "".
  std::map<std::string, Hierarchy> by_name;
};

// From the content of /proc/self/mountinfo and /proc/self/cgroup. No cgroup file system at all is an empty
// map.
Result<Hierarchies> ParseHierarchies(std::string_view mountinfo, std::string_view self_cgroup);
Result<Hierarchies> ReadHierarchies();

}  // namespace kata::cgroup
