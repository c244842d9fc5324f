// Pods: engines mark by annotations which containers share a sandbox, for the runtime specification has no
// word for it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kata::sandbox {

// The id of the container in whose sandbox the container with these annotations shall be created; empty: in
// one of its own. As written by CRI-O, Podman and containerd.
std::string PodSandboxOf(const std::map<std::string, std::string>& annotations);

// The annotations that it looks at.
std::vector<std::string> PodAnnotations();

}  // namespace kata::sandbox
