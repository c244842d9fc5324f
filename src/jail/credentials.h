// User, groups and capabilities of the container's process.
#pragma once

#include "base/result.h"
#include "linux/capabilities.h"
#include "oci/spec.h"

namespace kata::jail {

// Names that this build or the kernel does not know are left out, as such a capability cannot be had. nullopt
// means no capabilities at all.
linux::CapabilitySets ResolveCapabilities(const std::optional<oci::Capabilities>& capabilities,
                                          linux::CapabilitySet kernel);

// The change of identity in two steps. After Assume() the process has the user, the groups and the effective
// rights of the container's process, so that what it can open or execute is decided as it will be for that;
// only CAP_SYS_ADMIN is kept permitted (not effective) where `keep_admin` asks for it. Finish() gives that up
// too.
class Credentials {
 public:
  Credentials(const oci::User& user, const linux::CapabilitySets& capabilities, bool keep_admin)
      : user_(user), capabilities_(capabilities), keep_admin_(keep_admin) {}

  Status Assume() const;
  // Makes the kept CAP_SYS_ADMIN effective, to load a system call filter.
  Status RaiseAdmin() const;
  Status Finish() const;

 private:
  const oci::User& user_;
  linux::CapabilitySets capabilities_;
  bool keep_admin_;
};

// In a user namespace just made or joined: becomes its user and group 0, without supplementary groups.
Status BecomeNamespaceRoot();

}  // namespace kata::jail
