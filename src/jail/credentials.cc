// The order matters: each step needs a right that a later one gives up (capabilities(7)).
#include "jail/credentials.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace kata::jail {
namespace {

linux::CapabilitySet ResolveSet(const std::vector<std::string>& names, linux::CapabilitySet kernel) {
  linux::CapabilitySet set = 0;
  for (const std::string& name : names) {
    if (const std::optional<int> number = linux::CapabilityNumber(name)) set |= linux::CapabilityBit(*number);
  }
  return set & kernel;
}

constexpr linux::CapabilitySet kAdmin = linux::CapabilityBit(21);  // CAP_SYS_ADMIN

// By system call: the C library would make all its threads change together, and look for them by a list that
// is of no meaning in a cloned process.
Status SetIds(uid_t uid, gid_t gid, const std::vector<uint32_t>& groups) {
  std::vector<gid_t> list(groups.begin(), groups.end());
  // The kernel would keep, and show, twice what an engine names twice: of the user's and of those asked for.
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  // A user namespace may forbid setgroups(2); that matters only to somebody who asks for groups.
  if (syscall(SYS_setgroups, list.size(), list.data()) < 0 && !(list.empty() && errno == EPERM)) {
    return SysError("set supplementary groups");
  }
  if (syscall(SYS_setresgid, gid, gid, gid) < 0) return SysError("set group id {}", gid);
  if (syscall(SYS_setresuid, uid, uid, uid) < 0) return SysError("set user id {}", uid);
  return {};
}

}  // namespace

linux::CapabilitySets ResolveCapabilities(const std::optional<oci::Capabilities>& capabilities,
                                          linux::CapabilitySet kernel) {
  linux::CapabilitySets sets;
  if (!capabilities) return sets;
  sets.bounding = ResolveSet(capabilities->bounding, kernel);
  sets.effective = ResolveSet(capabilities->effective, kernel);
  sets.inheritable = ResolveSet(capabilities->inheritable, kernel);
  sets.permitted = ResolveSet(capabilities->permitted, kernel);
  sets.ambient = ResolveSet(capabilities->ambient, kernel);
  // An ambient capability must be permitted and inheritable (capabilities(7)); others are dropped, not an
  // error.
  sets.ambient &= sets.permitted & sets.inheritable;
  return sets;
}

Status Credentials::Assume() const {
  TRY(linux::LimitBoundingSet(capabilities_.bounding));
  TRY(linux::SetKeepCapabilities(true));
  TRY(SetIds(user_.uid, user_.gid, user_.additional_gids));
  TRY(linux::SetKeepCapabilities(false));
  const linux::CapabilitySet permitted = capabilities_.permitted | (keep_admin_ ? kAdmin : 0);
  return linux::SetCapabilities(capabilities_.effective, permitted, capabilities_.inheritable);
}

Status Credentials::RaiseAdmin() const {
  return linux::SetCapabilities(capabilities_.effective | kAdmin, capabilities_.permitted | kAdmin,
                                capabilities_.inheritable);
}

Status Credentials::Finish() const {
  TRY(linux::SetCapabilities(capabilities_.effective, capabilities_.permitted, capabilities_.inheritable));
  return linux::SetAmbientSet(capabilities_.ambient);
}

Status BecomeNamespaceRoot() {
  return SetIds(0, 0, {});
}

}  // namespace kata::jail
