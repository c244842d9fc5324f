#include "sandbox/readiness.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "linux/namespaces.h"
#include "linux/unix_socket.h"
#include "protocol/constants.h"

namespace kata::sandbox {
namespace {

constexpr std::string_view kVariable = "NOTIFY_SOCKET=";
constexpr char kDirectory[] = "/run/notify";  // runc's

std::string SocketIn(const std::string& directory) {
  return fmt::format("{}/{}", directory, protocol::kNotifySocketName);
}

// The mount of the directory that the process's NOTIFY_SOCKET lies in.
std::vector<oci::Mount>::iterator FindMonitorMount(oci::Spec& spec) {
  if (!spec.process) return spec.mounts.end();
  const auto& env = spec.process->env;
  const auto variable = std::find_if(env.rbegin(), env.rend(),
                                     [](const std::string& entry) { return entry.starts_with(kVariable); });
  if (variable == env.rend()) return spec.mounts.end();
  // Of several on one directory the last one is seen.
  const auto mount = std::find_if(spec.mounts.rbegin(), spec.mounts.rend(), [&](const oci::Mount& candidate) {
    return SocketIn(candidate.destination) == variable->substr(kVariable.size());
  });
  return mount == spec.mounts.rend() ? spec.mounts.end() : std::prev(mount.base());
}

// A directory with more in it is a volume like others, whose files must be seen.
Result<UniqueFd> ConnectMonitor(const oci::Mount& mount, const std::string& bundle,
                                int host_mount_namespace) {
  const std::string directory =
      mount.source.starts_with('/') ? mount.source : fmt::format("{}/{}", bundle, mount.source);
  UniqueFd socket;
  TRY(linux::CallInMountNamespace(host_mount_namespace, [&]() -> Status {
    const std::vector<std::string> names = TRY(ListDirectory(directory));
    if (names.size() != 1)
      return MakeError(Code::kInvalidArgument, "'{}' has {} files", directory, names.size());
    socket =
        TRY(linux::ConnectUnix(SocketIn(directory), SOCK_DGRAM, Deadline::After(std::chrono::seconds(0))));
    return {};
  }));
  return socket;
}

}  // namespace

Readiness PrepareReadiness(AgentClient& agent, const std::string& container_id, bool wanted,
                           const std::string& bundle, int host_mount_namespace, oci::Spec& spec) {
  Readiness readiness;
  const auto monitors = wanted ? spec.mounts.end() : FindMonitorMount(spec);
  if (monitors != spec.mounts.end()) {
    Result<UniqueFd> socket = ConnectMonitor(*monitors, bundle, host_mount_namespace);
    if (!socket) {
      log::Debug("NOTIFY_SOCKET of the container", {{"error", socket.error().message()}});
      return readiness;
    }
    readiness.monitor_socket = std::move(*socket);
  } else if (!wanted) {
    return readiness;
  }
  const Status listens = agent.ListenForReady(container_id);
  if (!listens) {
    log::Warning("nobody is told when the container is ready (NOTIFY_SOCKET)",
                 {{"container", container_id}, {"error", listens.error().message()}});
    return Readiness();
  }
  readiness.listens = true;
  readiness.mount = {.destination = kDirectory,
                     .type = "bind",
                     .source = fmt::format("{}/{}", protocol::kGuestNotifyDirectory, container_id),
                     .options = {"bind", "nosuid", "noexec", "nodev", "ro"},
                     .uid_mappings = {},
                     .gid_mappings = {}};
  if (monitors != spec.mounts.end()) {
    readiness.mount.destination = monitors->destination;
    spec.mounts.erase(monitors);
  } else if (spec.process) {
    spec.process->env.push_back(fmt::format("{}{}", kVariable, SocketIn(kDirectory)));
  }
  return readiness;
}

}  // namespace kata::sandbox
