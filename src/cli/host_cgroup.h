// The control groups on the host of a new container, made by this program or by systemd.
#pragma once

#include <string>

#include "base/result.h"
#include "cgroup/host_cgroup.h"
#include "cgroup/systemd_scope.h"
#include "cli/commands.h"

namespace kata::cli {

// Those that MakeHostCgroup is going to make.
Result<cgroup::HostCgroup> PlanHostCgroup(const GlobalOptions& globals, const std::string& cgroups_path,
                                          const std::string& id);

// Those of --cgroup-manager cgroupfs at linux.cgroupsPath; none with "disabled", or where --rootless does
// without. Nothing is left after a failure.
Result<cgroup::HostCgroup> MakeHostCgroup(const GlobalOptions& globals, const std::string& cgroups_path,
                                          const std::string& id);

// The scope to be made of linux.cgroupsPath and annotations with --systemd-cgroup; kFailedPrecondition when
// systemd cannot be reached.
Result<cgroup::SystemdScope> PlanScope(const std::string& cgroups_path, const std::string& id,
                                       const oci::StringMap& annotations);

// Those of the scope, including those that systemd is going to make.
Result<cgroup::HostCgroup> PlanScopeCgroup(const cgroup::SystemdScope& scope);

// Lets systemd make the scope around kata-shim, and adds the hierarchies that systemd does not use.
Result<cgroup::HostCgroup> EnterScope(const cgroup::SystemdScope& scope, pid_t shim_pid);

}  // namespace kata::cli
