#include "cli/host_cgroup.h"

#include <cerrno>

#include "base/file.h"
#include "base/log.h"
#include "cgroup/systemd_path.h"

namespace kata::cli {
namespace {

// "[...] checks whether the system was booted up with systemd" (sd_booted(3)).
constexpr char kSystemdDirectory[] = "/run/systemd/system";

constexpr std::chrono::seconds kSystemdTime{30};

std::string ExpandPath(const std::string& cgroups_path) {
  return cgroup::ExpandSystemdPath(cgroups_path).value_or(cgroups_path);
}

}  // namespace

Result<cgroup::HostCgroup> PlanHostCgroup(const GlobalOptions& globals, const std::string& cgroups_path,
                                          const std::string& id) {
  if (globals.cgroup_manager == CgroupManager::kDisabled) return cgroup::HostCgroup();
  return cgroup::HostCgroup::Plan(TRY(cgroup::ReadHierarchies()), ExpandPath(cgroups_path), id);
}

Result<cgroup::HostCgroup> MakeHostCgroup(const GlobalOptions& globals, const std::string& cgroups_path,
                                          const std::string& id) {
  if (globals.cgroup_manager == CgroupManager::kDisabled) return cgroup::HostCgroup();
  const cgroup::Hierarchies hierarchies = TRY(cgroup::ReadHierarchies());
  Result<cgroup::HostCgroup> made = cgroup::HostCgroup::Create(hierarchies, ExpandPath(cgroups_path), id);
  if (made) {
    // Their limits and their end would be shared; runc's text, which people look for.
    if (const size_t processes = made->CountProcesses(); processes > 0) {
      log::Warning(fmt::format("container's cgroup is not empty: {} process(es) found", processes));
    }
    return made;
  }
  const int cause = made.error().sys_errno();
  if (!globals.rootless || (cause != EACCES && cause != EPERM && cause != EROFS)) return made;
  log::Debug("there is no control group on the host", {{"error", made.error().message()}});
  return cgroup::HostCgroup();
}

Result<cgroup::SystemdScope> PlanScope(const std::string& cgroups_path, const std::string& id,
                                       const oci::StringMap& annotations) {
  if (!PathExists(kSystemdDirectory)) {
    return MakeError(Code::kFailedPrecondition,
                     "--systemd-cgroup: systemd cannot be reached, as '{}' does not exist: use the cgroupfs "
                     "driver on this host",
                     kSystemdDirectory);
  }
  cgroup::SystemdScope scope = TRY(cgroup::MakeScopeName(cgroups_path, id));
  scope.properties = TRY(cgroup::ReadSystemdProperties(annotations));
  return scope;
}

Result<cgroup::HostCgroup> PlanScopeCgroup(const cgroup::SystemdScope& scope) {
  return cgroup::HostCgroup::Plan(TRY(cgroup::ReadHierarchies()), scope.path, "");
}

Result<cgroup::HostCgroup> EnterScope(const cgroup::SystemdScope& scope, pid_t shim_pid) {
  TRY_CTX(cgroup::StartScope(scope, shim_pid, Deadline::After(kSystemdTime)), "--systemd-cgroup");
  const cgroup::Hierarchies hierarchies = TRY(cgroup::ReadHierarchies());
  cgroup::HostCgroup made = TRY(cgroup::HostCgroup::Create(hierarchies, scope.path, ""));
  TRY(made.AddProcess(shim_pid));
  return made;
}

}  // namespace kata::cli
