// A transient scope of systemd: the control groups of a container on a host where systemd owns their tree.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "cgroup/systemd_property.h"

namespace kata::cgroup {

struct SystemdScope {
  std::string slice;  // "system.slice"
  std::string unit;   // "docker-c1.scope"
  std::string path;  // that systemd gives it in every hierarchy that it uses: "/system.slice/docker-c1.scope"
  std::vector<SystemdProperty> properties;  // besides those that every scope has
};

// From linux.cgroupsPath, "slice:prefix:name"; an empty one means "system.slice:kata:ID". kInvalidArgument
// for another form.
Result<SystemdScope> MakeScopeName(const std::string& cgroups_path, const std::string& id);

// Lets systemd make the scope with `pid` as its first process, and returns when the process is in it.
// Delegated: systemd leaves what is in it alone. Blocking. The error has systemd's words.
Status StartScope(const SystemdScope& scope, pid_t pid, Deadline deadline);

// Forgets a scope, whose processes have ended; one that systemd has forgotten already is no error. Blocking.
Status StopScope(const std::string& unit, Deadline deadline);

}  // namespace kata::cgroup
