// What the agent asks the re-executed process to do, and the descriptors that it hands over.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/accounts.h"
#include "oci/spec.h"

namespace kata::jail {

// Descriptor numbers in the re-executed process. One that was not handed over is simply not open there.
enum InheritedFd : int {
  kRequestFd = 3,       // sealed memfd with the request
  kSyncFd = 4,          // SyncChannel
  kCgroupFd = 5,        // directory of the container's cgroup
  kIpcNamespaceFd = 6,  // of the sandbox
  kUtsNamespaceFd = 7,
  kPidNamespaceFd = 8,
  kInitPidfd = 9,           // exec: the container's init
  kCgroupNamespaceFd = 10,  // exec: the container's, joined when the process is in the container's cgroup
  kInitCgroupFd = 11,       // exec: directory of init's cgroup, for when the container's takes no processes
};

// Which of them were handed over. Captured first of all: a number that is free is soon given to another file.
class InheritedFds {
 public:
  // Also makes them close-on-exec: the container gets none of them.
  static InheritedFds Capture();
  bool Has(InheritedFd fd) const { return (open_ & (1u << fd)) != 0; }

 private:
  unsigned open_ = 0;
};

struct Request {
  enum class Operation { kCreate, kExec };
  Operation operation = Operation::kCreate;
  oci::Spec spec;        // for kExec with the process to execute in place of init's
  UserNames user_names;  // looked up in the container, over the process's user
  std::string container_id;
  std::string bundle;  // as hooks are told
  std::string rootfs;  // kCreate: absolute, in the agent's mount namespace
  int namespaces = 0;  // kExec: CLONE_NEW* of the container's namespaces that differ from the agent's
  bool enable_seccomp = true;
};

std::string SerializeRequest(const Request& request);
Result<Request> ParseRequest(std::string_view text);

// A memfd with `content` that nobody can change any more.
Result<UniqueFd> MakeSealedMemfd(const char* name, std::string_view content);

}  // namespace kata::jail
