// kata-runtime features: what engines may put into a config.json for this build.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/version.h"
#include "cgroup/systemd_property.h"
#include "cli/commands.h"
#include "cli/stdout.h"
#include "config/config.h"
#include "linux/capabilities.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "oci/seccomp_names.h"
#include "sandbox/pod.h"

namespace kata::cli {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> NamespaceNames() {
  std::vector<std::string> names;
  names.reserve(std::size(linux::kNamespaceKinds));
  for (const linux::NamespaceKind& kind : linux::kNamespaceKinds) names.emplace_back(kind.oci_name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> CapabilityNames() {
  std::vector<std::string> names;
  for (int number = 0; !linux::CapabilityName(number).empty(); ++number) {
    names.emplace_back(linux::CapabilityName(number));
  }
  return names;
}

// What the filter in the guest really does.
std::vector<std::string_view> SeccompActions() {
  std::vector<std::string_view> actions(std::begin(oci::kSeccompActions), std::end(oci::kSeccompActions));
  std::erase(actions, oci::kSeccompNotify);
  return actions;
}

// Those that change what a container is given; one that ends with a dot stands for all that begin so.
std::vector<std::string> UnsafeAnnotations() {
  std::vector<std::string> annotations = sandbox::PodAnnotations();
  annotations.emplace_back(config::kAnnotationPrefix);
  annotations.emplace_back(cgroup::kSystemdPropertyPrefix);
  return annotations;
}

Json Features() {
  return {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", OciSpecVersion()},
      {"hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", linux::MountOptionNames()},
      {"linux",
       {{"namespaces", NamespaceNames()},
        {"capabilities", CapabilityNames()},
        // On the host; the guest has version 2, whatever the host has.
        {"cgroup", {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", false}, {"rdma", false}}},
        {"seccomp",
         {{"enabled", true},
          {"actions", SeccompActions()},
          {"operators", oci::kSeccompOperators},
          {"archs", oci::kSeccompArchitectures},
          {"knownFlags", oci::kSeccompFlags},
          {"supportedFlags", oci::kSeccompFlags}}},
        {"apparmor", {{"enabled", false}}},
        {"selinux", {{"enabled", false}}},
        {"intelRdt", {{"enabled", false}}},
        {"mountExtensions", {{"idmap", {{"enabled", true}}}}}}},
      {"potentiallyUnsafeConfigAnnotations", UnsafeAnnotations()},
      {"annotations", {{"org.katacontainers.version", Version()}, {"org.katacontainers.commit", Commit()}}},
  };
}

}  // namespace

Result<int> Execute(const GlobalOptions&, const FeaturesOptions&) {
  TRY(WriteStdout(Features().dump(2) + "\n"));
  return 0;
}

}  // namespace kata::cli
