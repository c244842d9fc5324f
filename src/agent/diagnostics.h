// What a host that shares no file system with the guest wants to know of a container that has ended.
#pragma once

#include <string>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::agent {

// Kubernetes' termination log of a container: the source of its mount at the annotated path, or at the
// default
// "/dev/termination-log". Empty: it has none.
std::string TerminationLogSource(const oci::Spec& spec);

// The file's content, up to the length that Kubernetes shows. A file that is missing or no regular file is an
// error. Blocks; for workers.
Result<std::string> ReadTerminationLog(const std::string& path);

}  // namespace kata::agent
