// The container that `kata-runtime spec` describes.
#pragma once

#include "oci/spec.h"

namespace kata::oci {

// A shell on a terminal in the read-only root file system "rootfs", with runc's default namespaces and
// mounts.
Spec ExampleSpec();

}  // namespace kata::oci
