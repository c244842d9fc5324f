// Namespaces (namespaces(7)): names and clone flags, opening, joining, making.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace kata::linux {

struct NamespaceKind {
  std::string_view oci_name;   // "network"
  std::string_view proc_name;  // "net", in /proc/<pid>/ns
  int clone_flag;              // CLONE_NEWNET
};

// In the order in which they can be joined: the user namespace first, as it gives the rights for the others.
inline constexpr std::array<NamespaceKind, 8> kNamespaceKinds{{
    {"user", "user", CLONE_NEWUSER},
    {"cgroup", "cgroup", CLONE_NEWCGROUP},
    {"ipc", "ipc", CLONE_NEWIPC},
    {"uts", "uts", CLONE_NEWUTS},
    {"network", "net", CLONE_NEWNET},
    {"pid", "pid", CLONE_NEWPID},
    {"time", "time", CLONE_NEWTIME},
    {"mount", "mnt", CLONE_NEWNS},
}};

// By the name that OCI uses; kInvalidArgument for another.
Result<NamespaceKind> FindNamespaceKind(std::string_view oci_name);

// A namespace held open; it lives as long as the descriptor.
class NamespaceFd {
 public:
  NamespaceFd() = default;
  // The namespace of process `pid` (0: of the calling thread).
  static Result<NamespaceFd> OfProcess(pid_t pid, int clone_flag);
  // From a file such as /run/netns/x; an error if it is no namespace of that kind.
  static Result<NamespaceFd> FromPath(const std::string& path, int clone_flag);
  // Takes over a descriptor; an error if it is no namespace of that kind.
  static Result<NamespaceFd> FromFd(UniqueFd fd, int clone_flag);

  int get() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  int clone_flag() const { return clone_flag_; }
  // setns(2): moves the calling *thread* (for pid: its future children).
  Status Enter() const;
  // Whether both are the same namespace.
  Result<bool> IsSameAs(const NamespaceFd& other) const;
  // Whether the calling thread is in it; one's own user namespace cannot be entered.
  Result<bool> IsOwn() const;

 private:
  NamespaceFd(UniqueFd fd, int clone_flag) : fd_(std::move(fd)), clone_flag_(clone_flag) {}
  UniqueFd fd_;
  int clone_flag_ = 0;
};

// setns(2) on a pidfd: all namespaces of that process named by `clone_flags` at once, or none.
Status EnterNamespacesOf(int pidfd, int clone_flags);

// What a user namespace maps: lines of /proc/<pid>/{uid,gid}_map, in the ids of this process.
struct IdMaps {
  std::string uids;
  std::string gids;
};
Result<IdMaps> ReadIdMaps(const NamespaceFd& user_namespace);

// A new user namespace with these maps (lines of /proc/<pid>/{uid,gid}_map), in which no process is.
Result<NamespaceFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map);

// Runs `function` on a thread of its own in the mount namespace `namespace_fd` (borrowed), and returns what
// it does. -1: here.
Status CallInMountNamespace(int namespace_fd, const std::function<Status()>& function);

// The same in a copy of that namespace, which ends with the call: what the function mounts is seen nowhere
// else.
Status CallInMountNamespaceCopy(int namespace_fd, const std::function<Status()>& function);

// unshare(2); the error names the namespaces.
Status Unshare(int clone_flags);

// "mount, pid" for messages.
std::string DescribeNamespaces(int clone_flags);

}  // namespace kata::linux
