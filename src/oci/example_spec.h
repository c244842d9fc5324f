// The container that `kata-runtime spec` describes.
#pragma once

#include <cstdint>

#include "oci/spec.h"

namespace kata::oci {

// A shell on a terminal in the read-only root file system "rootfs", with runc's default namespaces and
// mounts.
Spec ExampleSpec();

// The same for a user without rights: in a user namespace whose root is `uid` and `gid` of the host, without
// control groups. It keeps its network namespace, which runc's leaves out: a virtual machine cannot share the
// host's.
Spec RootlessExampleSpec(uint32_t uid, uint32_t gid);

}  // namespace kata::oci
