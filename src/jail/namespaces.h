// Which namespaces a container gets: new ones, some joined by path or from the sandbox.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "linux/namespaces.h"
#include "oci/spec.h"

namespace kata::jail {

struct NamespacePlan {
  int create = 0;  // CLONE_NEW* to make
  struct Join {
    int clone_flag = 0;
    std::string path;     // empty: from the sandbox
    int sandbox_fd = -1;  // borrowed
  };
  std::vector<Join> joins;

  // All that will differ from the agent's.
  int AllFlags() const;
  bool Creates(int clone_flag) const { return (create & clone_flag) != 0; }
};

// Namespaces of the sandbox, -1 where there is none.
struct SandboxNamespaces {
  int ipc_fd = -1;
  int uts_fd = -1;
  int pid_fd = -1;
};

// A mount namespace is always made, as the root file system is changed in it. kInvalidArgument for an unknown
// or doubled type, kUnimplemented for a mount namespace to join.
Result<NamespacePlan> PlanNamespaces(const oci::Spec& spec, const SandboxNamespaces& sandbox);

// Whether the spec asks for a new user namespace.
bool MakesUserNamespace(const oci::Spec& spec);

// Joins what the plan says to join, but for a cgroup namespace. A namespace that belongs to the user
// namespace to join can only be joined after it, one that belongs to ours only before: each is tried at both
// times.
Status JoinNamespaces(const NamespacePlan& plan);

// Run by the agent for a process in a new user namespace. kInvalidArgument if one list is empty.
Status WriteIdMaps(pid_t pid, const std::vector<oci::IdMapping>& uids,
                   const std::vector<oci::IdMapping>& gids);

// Makes the time namespace of the process's children and sets its clocks.
Status CreateTimeNamespace(const std::map<std::string, oci::TimeOffset>& offsets);

// Whose namespaces a process stands in while a container is set up, with the rights to change them.
enum class Stage {
  kAgents,  // nothing is joined yet
  kJoined,  // the plan's joins are done
  kNew,     // also those that the plan creates
};

// The stage at which the namespace of this kind has become the container's; 0 means the kernel as a whole,
// which is the agent's.
Stage StageOf(const NamespacePlan& plan, int clone_flag);

// CLONE_NEW* of the namespace that a kernel parameter belongs to, by its path below /proc/sys; 0: none.
int NamespaceOfSysctl(std::string_view path);

// Settings of the namespaces that became the container's at `stage`, to be made in each stage before the next
// is entered: host and domain name, loopback device, kernel parameters. Only so does a container in a user
// namespace get those that it may not set itself.
Status ConfigureNamespaces(const oci::Spec& spec, const NamespacePlan& plan, Stage stage);

// "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding" -> the path below /proc/sys; kInvalidArgument
// for one that would leave it.
Result<std::string> SysctlPath(const std::string& name);

}  // namespace kata::jail
