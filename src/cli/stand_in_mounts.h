// The mount namespace that kata-shim lives in: what engines find through the pid that they know.
//
// Some look for the container's files there: "podman cp" joins the mount namespace of a running container and
// takes "/" for its root. In the host's it would read, and write, the files of the host.
#pragma once

#include "base/result.h"
#include "cli/bundle.h"
#include "linux/namespaces.h"

namespace kata::cli {

// A new mount namespace whose root is the container's root file system, as the host has it, with what the
// bundle binds into it, and nothing else of the host. A bind mount whose place cannot be made is left out.
Result<linux::NamespaceFd> MakeStandInMounts(const Bundle& bundle);

}  // namespace kata::cli
