// The network namespace that a container's VM lives in.
#pragma once

#include "base/result.h"
#include "linux/namespaces.h"
#include "oci/spec.h"

namespace kata::cli {

// The one that the specification names by its path, or a new one, which lives as long as the descriptor or a
// process in it. A container that asks for the host's network is refused: a VM has interfaces of its own.
Result<linux::NamespaceFd> OpenNetworkNamespace(const oci::Spec& spec);

}  // namespace kata::cli
