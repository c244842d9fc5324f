#include "sandbox/pod.h"

namespace kata::sandbox {
namespace {

struct Vocabulary {
  const char* type;
  const char* sandbox_id;
};

constexpr Vocabulary kVocabularies[] = {
    {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},  // CRI-O, Podman
    {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},    // containerd
};
// Besides it there is "sandbox"; a container without a pod has no such annotation.
constexpr char kMember[] = "container";

}  // namespace

std::string PodSandboxOf(const std::map<std::string, std::string>& annotations) {
  for (const Vocabulary& words : kVocabularies) {
    const auto type = annotations.find(words.type);
    const auto id = annotations.find(words.sandbox_id);
    if (type != annotations.end() && type->second == kMember && id != annotations.end()) return id->second;
  }
  return {};
}

std::vector<std::string> PodAnnotations() {
  std::vector<std::string> names;
  for (const Vocabulary& words : kVocabularies) names.insert(names.end(), {words.type, words.sandbox_id});
  return names;
}

}  // namespace kata::sandbox
