#include "sandbox/removal.h"

#include "base/file.h"
#include "base/log.h"
#include "cgroup/host_cgroup.h"
#include "cgroup/systemd_scope.h"
#include "sandbox/hooks.h"

namespace kata::sandbox {
namespace {

constexpr std::chrono::seconds kCgroupRemovalTime{5};
constexpr std::chrono::seconds kSystemdTime{15};
// Longer than another removal takes.
constexpr std::chrono::seconds kOtherRemovalTime{60};

// "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue
// as if the hook had succeeded" (runtime specification).
void RunPoststopHooks(const std::vector<oci::Hook>& hooks, const ContainerState& state,
                      int host_mount_namespace) {
  HookRun run{.point = "poststop",
              .state = HookState(state, "stopped"),
              .working_directory = state.bundle,
              .namespace_fds = {},
              .cancel_fd = -1};
  run.state.pid = 0;
  if (host_mount_namespace >= 0) run.namespace_fds.push_back(host_mount_namespace);
  // An engine may have removed the bundle already.
  if (!PathExists(run.working_directory)) run.working_directory = "/";
  for (const oci::Hook& hook : hooks) {
    if (const Status status = RunHooks({hook}, run); !status) {
      log::Warning("a hook failed", {{"container", state.id}, {"error", status.error().message()}});
    }
  }
}

}  // namespace

oci::State HookState(const ContainerState& state, const std::string& status) {
  oci::State hook_state;
  hook_state.oci_version = state.oci_version;
  hook_state.id = state.id;
  hook_state.status = status;
  hook_state.pid = state.shim.pid;
  hook_state.bundle = state.bundle;
  hook_state.annotations = state.annotations;
  return hook_state;
}

Status RemoveTraces(const StateDirectory& directory, int host_mount_namespace) {
  // The names of scope and control groups, too, may be a later container's as soon as the directory is gone:
  // nobody may remove it while somebody else is at these steps. What one leaves that is killed, the next
  // removes: the directory goes last.
  UniqueFd lock = TRY(directory.Lock(Deadline::After(kOtherRemovalTime)));
  if (!directory.IsCurrent()) return {};
  const Result<ContainerState> state = directory.ReadState();
  const Result<oci::Hooks> hooks = directory.ReadHooks();
  if (!hooks) log::Warning("hooks are not run", {{"error", hooks.error().message()}});
  if (state && !state->systemd_unit.empty()) {
    const Status stopped = cgroup::StopScope(state->systemd_unit, Deadline::After(kSystemdTime));
    if (!stopped) log::Warning("a scope of systemd stays", {{"error", stopped.error().message()}});
  }
  if (state) {
    const cgroup::HostCgroup cgroup(state->cgroups);
    // One in which somebody else has put processes stays.
    if (const Status removed = cgroup.Remove(Deadline::After(kCgroupRemovalTime)); !removed) {
      log::Warning("a control group stays",
                   {{"container", directory.id()}, {"error", removed.error().message()}});
    }
  }
  TRY(directory.Remove());
  lock.Reset();  // whoever waits for the end of the removal does not wait for hooks
  if (state && hooks) RunPoststopHooks(hooks->poststop, *state, host_mount_namespace);
  return {};
}

}  // namespace kata::sandbox
