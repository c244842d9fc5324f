// Planning, joining and configuring namespaces.
#include "jail/namespaces.h"

#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/unique_fd.h"
#include "linux/netlink/route.h"
#include "oci/id_map.h"

namespace kata::jail {
namespace {

int SandboxFd(int clone_flag, const SandboxNamespaces& sandbox) {
  switch (clone_flag) {
    case CLONE_NEWIPC:
      return sandbox.ipc_fd;
    case CLONE_NEWUTS:
      return sandbox.uts_fd;
    case CLONE_NEWPID:
      return sandbox.pid_fd;
    default:
      return -1;
  }
}

Status SetNames(const oci::Spec& spec) {
  if (!spec.hostname.empty() && sethostname(spec.hostname.data(), spec.hostname.size()) < 0) {
    return SysError("set host name '{}'", spec.hostname);
  }
  if (!spec.domainname.empty() && setdomainname(spec.domainname.data(), spec.domainname.size()) < 0) {
    return SysError("set domain name '{}'", spec.domainname);
  }
  return {};
}

}  // namespace

int NamespacePlan::AllFlags() const {
  int flags = create;
  for (const Join& join : joins) flags |= join.clone_flag;
  return flags;
}

Result<NamespacePlan> PlanNamespaces(const oci::Spec& spec, const SandboxNamespaces& sandbox) {
  NamespacePlan plan;
  plan.create = CLONE_NEWNS;
  int seen = 0;
  for (const oci::Namespace& entry : spec.linux ? spec.linux->namespaces : std::vector<oci::Namespace>()) {
    const int flag = TRY(linux::FindNamespaceKind(entry.type)).clone_flag;
    if ((seen & flag) != 0)
      return MakeError(Code::kInvalidArgument, "namespace '{}' is listed twice", entry.type);
    seen |= flag;
    const int sandbox_fd = SandboxFd(flag, sandbox);
    if (flag == CLONE_NEWNS) {
      if (!entry.path.empty())
        return MakeError(Code::kUnimplemented, "joining a mount namespace is not supported");
    } else if (!entry.path.empty()) {
      plan.joins.push_back({flag, entry.path, -1});
    } else if (sandbox_fd >= 0) {
      plan.joins.push_back({flag, {}, sandbox_fd});
    } else {
      plan.create |= flag;
    }
  }
  return plan;
}

bool MakesUserNamespace(const oci::Spec& spec) {
  if (!spec.linux) return false;
  const auto& namespaces = spec.linux->namespaces;
  return std::any_of(namespaces.begin(), namespaces.end(),
                     [](const oci::Namespace& entry) { return entry.type == "user" && entry.path.empty(); });
}

Status JoinNamespaces(const NamespacePlan& plan) {
  std::vector<linux::NamespaceFd> pending;
  linux::NamespaceFd user;
  for (const NamespacePlan::Join& join : plan.joins) {
    if (join.clone_flag == CLONE_NEWCGROUP) continue;
    linux::NamespaceFd fd;
    if (join.path.empty()) {
      fd = TRY(linux::NamespaceFd::FromFd(TRY(DuplicateFd(join.sandbox_fd)), join.clone_flag));
    } else {
      fd = TRY(linux::NamespaceFd::FromPath(join.path, join.clone_flag));
    }
    (join.clone_flag == CLONE_NEWUSER ? user : pending.emplace_back()) = std::move(fd);
  }
  if (user.valid()) {
    const auto joined = [](const linux::NamespaceFd& fd) { return fd.Enter().has_value(); };
    pending.erase(std::remove_if(pending.begin(), pending.end(), joined), pending.end());
    TRY(user.Enter());
  }
  for (const linux::NamespaceFd& fd : pending) TRY(fd.Enter());
  return {};
}

Status WriteIdMaps(pid_t pid, const std::vector<oci::IdMapping>& uids,
                   const std::vector<oci::IdMapping>& gids) {
  if (uids.empty() || gids.empty()) {
    return MakeError(Code::kInvalidArgument, "a new user namespace needs uidMappings and gidMappings");
  }
  // A privileged writer may map any ids and need not deny setgroups(2) (user_namespaces(7)).
  TRY_CTX(WriteKnob(fmt::format("/proc/{}/uid_map", pid), oci::FormatIdMappings(uids)), "map user ids");
  TRY_CTX(WriteKnob(fmt::format("/proc/{}/gid_map", pid), oci::FormatIdMappings(gids)), "map group ids");
  return {};
}

Status CreateTimeNamespace(const std::map<std::string, oci::TimeOffset>& offsets) {
  TRY(linux::Unshare(CLONE_NEWTIME));
  for (const auto& [clock, offset] : offsets) {
    TRY_CTX(
        WriteKnob("/proc/self/timens_offsets", fmt::format("{} {} {}", clock, offset.secs, offset.nanosecs)),
        "set offset of clock '{}'", clock);
  }
  return {};
}

Result<std::string> SysctlPath(const std::string& name) {
  std::string path = name;
  // As sysctl(8): with a slash as the separator, dots are part of the names.
  if (name.find('/') == std::string::npos) std::replace(path.begin(), path.end(), '.', '/');
  const std::string framed = "/" + path + "/";
  if (path.empty() || framed.find("//") != std::string::npos || framed.find("/../") != std::string::npos ||
      framed.find("/./") != std::string::npos) {
    return MakeError(Code::kInvalidArgument, "invalid sysctl name '{}'", name);
  }
  return path;
}

int NamespaceOfSysctl(std::string_view path) {
  static constexpr std::pair<std::string_view, int> kPrefixes[] = {{"net/", CLONE_NEWNET},
                                                                   {"fs/mqueue/", CLONE_NEWIPC},
                                                                   {"kernel/msg", CLONE_NEWIPC},
                                                                   {"kernel/sem", CLONE_NEWIPC},
                                                                   {"kernel/shm", CLONE_NEWIPC},
                                                                   {"kernel/hostname", CLONE_NEWUTS},
                                                                   {"kernel/domainname", CLONE_NEWUTS},
                                                                   {"kernel/ns_last_pid", CLONE_NEWPID},
                                                                   {"user/", CLONE_NEWUSER}};
  for (const auto& [prefix, flag] : kPrefixes) {
    if (path.starts_with(prefix)) return flag;
  }
  return 0;
}

Stage StageOf(const NamespacePlan& plan, int clone_flag) {
  if (plan.Creates(clone_flag)) return Stage::kNew;
  return (plan.AllFlags() & clone_flag) != 0 ? Stage::kJoined : Stage::kAgents;
}

Status ConfigureNamespaces(const oci::Spec& spec, const NamespacePlan& plan, Stage stage) {
  // Never the agent's own name.
  if (stage != Stage::kAgents && StageOf(plan, CLONE_NEWUTS) == stage) TRY(SetNames(spec));
  if (stage == Stage::kNew && plan.Creates(CLONE_NEWNET)) TRY(linux::BringUpLoopback());
  if (!spec.linux) return {};
  for (const auto& [name, value] : spec.linux->sysctl) {
    const std::string path = TRY(SysctlPath(name));
    if (StageOf(plan, NamespaceOfSysctl(path)) != stage) continue;
    TRY_CTX(WriteKnob("/proc/sys/" + path, value), "set sysctl '{}' to '{}'", name, value);
  }
  return {};
}

}  // namespace kata::jail
