// kata-runtime features: what engines may put into a config.json for this build.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/stdout.h"
#include "linux/capabilities.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"

namespace kata::cli {
namespace {

using Json = nlohmann::ordered_json;

// The option names of mount(8) and runc that the parser of this build gives a meaning: what it does not know
// it leaves to the file system.
std::vector<std::string> MountOptionNames() {
  static constexpr const char* kCandidates[] = {"async",
                                                "atime",
                                                "bind",
                                                "defaults",
                                                "dev",
                                                "diratime",
                                                "dirsync",
                                                "exec",
                                                "iversion",
                                                "lazytime",
                                                "loud",
                                                "mand",
                                                "noatime",
                                                "nodev",
                                                "nodiratime",
                                                "noexec",
                                                "noiversion",
                                                "nolazytime",
                                                "nomand",
                                                "norelatime",
                                                "nostrictatime",
                                                "nosuid",
                                                "nosymfollow",
                                                "private",
                                                "ratime",
                                                "rbind",
                                                "rdev",
                                                "rdiratime",
                                                "relatime",
                                                "remount",
                                                "rexec",
                                                "rnoatime",
                                                "rnodev",
                                                "rnodiratime",
                                                "rnoexec",
                                                "rnorelatime",
                                                "rnostrictatime",
                                                "rnosuid",
                                                "rnosymfollow",
                                                "ro",
                                                "rprivate",
                                                "rrelatime",
                                                "rro",
                                                "rrw",
                                                "rshared",
                                                "rslave",
                                                "rstrictatime",
                                                "rsuid",
                                                "rsymfollow",
                                                "runbindable",
                                                "rw",
                                                "shared",
                                                "silent",
                                                "slave",
                                                "strictatime",
                                                "suid",
                                                "symfollow",
                                                "sync",
                                                "tmpcopyup",
                                                "unbindable"};
  std::vector<std::string> names;
  for (const char* candidate : kCandidates) {
    const Result<linux::MountOptions> options = linux::ParseMountOptions({candidate});
    if (options && options->data.empty()) names.emplace_back(candidate);
  }
  return names;
}

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

Json Features() {
  return {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", OciSpecVersion()},
      {"hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", MountOptionNames()},
      {"linux",
       {{"namespaces", NamespaceNames()},
        {"capabilities", CapabilityNames()},
        // On the host; the guest has version 2, whatever the host has.
        {"cgroup", {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", false}, {"rdma", false}}},
        {"seccomp",
         {{"enabled", true},
          {"actions",
           {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"}},
          {"operators",
           {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE"}},
          {"archs", {"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"}}}},
        {"apparmor", {{"enabled", false}}},
        {"selinux", {{"enabled", false}}},
        {"intelRdt", {{"enabled", false}}}}},
      {"annotations", {{"org.katacontainers.version", Version()}, {"org.katacontainers.commit", Commit()}}},
  };
}

}  // namespace

Result<int> Execute(const GlobalOptions&, const FeaturesOptions&) {
  TRY(WriteStdout(Features().dump(2) + "\n"));
  return 0;
}

}  // namespace kata::cli
