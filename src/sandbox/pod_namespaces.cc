#include "sandbox/pod_namespaces.h"

#include <limits.h>
#include <unistd.h>

#include "base/parse_number.h"
#include "linux/namespaces.h"

namespace kata::sandbox {
namespace {

// The sandbox has one of each, which its first container has, too.
bool IsOfSandbox(std::string_view type) {
  return type == "ipc" || type == "uts" || type == "pid";
}

Error NotInMachine(const oci::Namespace& entry) {
  return MakeError(
      Code::kInvalidArgument,
      "the {} namespace '{}' cannot be joined: it is of no container of the pod, and its virtual "
      "machine has a kernel of its own",
      entry.type, entry.path);
}

// For a namespace of no container of the sandbox.
Status CheckForeign(const oci::Namespace& entry, pid_t pid) {
  if (pid == 0 && IsOfSandbox(entry.type)) return {};
  // A kata-shim is in most of the host's own.
  if (pid != 0 && IsKataShim(pid)) return NotInMachine(entry);
  const int flag = TRY(linux::FindNamespaceKind(entry.type)).clone_flag;
  const auto name_space = TRY_CTX(linux::NamespaceFd::FromPath(entry.path, flag), "join {}", entry.type);
  const bool host = TRY(name_space.IsOwn());
  return host && entry.type != "pid" && entry.type != "ipc" ? Status() : Status(NotInMachine(entry));
}

}  // namespace

pid_t ProcessOfNamespace(std::string_view path) {
  constexpr std::string_view kProc = "/proc/";
  if (!path.starts_with(kProc)) return 0;
  path.remove_prefix(kProc.size());
  return ParseNumber<pid_t>(path.substr(0, path.find('/'))).value_or(0);
}

bool IsKataShim(pid_t pid) {
  char program[PATH_MAX];
  const ssize_t length = readlink(fmt::format("/proc/{}/exe", pid).c_str(), program, sizeof program);
  return length > 0 && std::string_view(program, static_cast<size_t>(length)).ends_with("/kata-shim");
}

Result<GuestNamespaces> PlanGuestNamespaces(const oci::Spec& spec, const std::string& sandbox_id,
                                            const std::map<pid_t, std::string>& shims) {
  GuestNamespaces plan;
  if (!spec.linux) return plan;
  for (const oci::Namespace& entry : spec.linux->namespaces) {
    // The guest's network is the pod's, a user namespace is told as its mappings, and of mounts each
    // container has its own.
    if (entry.type == "network" || entry.type == "user" || entry.type == "mount") continue;
    if (entry.path.empty()) {
      if (entry.type == "ipc" || entry.type == "uts") plan[entry.type] = "";
      continue;
    }
    const pid_t pid = ProcessOfNamespace(entry.path);
    const auto found = shims.find(pid);
    if (found == shims.end()) {
      TRY_CTX(CheckForeign(entry, pid), "linux.namespaces");
    } else if (found->second != sandbox_id || !IsOfSandbox(entry.type)) {
      plan[entry.type] = found->second;
    }
  }
  return plan;
}

}  // namespace kata::sandbox
