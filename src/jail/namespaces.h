// Which namespaces a container gets: new ones, some joined by path or from the sandbox.
#pragma once

#include <string>
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

// Joins what the plan says to join. A namespace that belongs to the user namespace to join can only be joined
// after it, one that belongs to ours only before: each is tried at both times.
Status JoinNamespaces(const NamespacePlan& plan);

// The content of /proc/<pid>/{uid,gid}_map.
std::string FormatIdMap(const std::vector<oci::IdMapping>& mappings);
// Run by the agent for a process in a new user namespace.
Status WriteIdMaps(pid_t pid, const oci::Linux& linux_section);

// Makes the time namespace of the process's children and sets its clocks.
Status CreateTimeNamespace(const std::map<std::string, oci::TimeOffset>& offsets);

// Settings inside of namespaces that the container made itself: host and domain name, loopback device,
// sysctls.
Status ConfigureNamespaces(const oci::Spec& spec, const NamespacePlan& plan);

// "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding" -> the path below /proc/sys; kInvalidArgument
// for one that would leave it.
Result<std::string> SysctlPath(const std::string& name);

}  // namespace kata::jail
