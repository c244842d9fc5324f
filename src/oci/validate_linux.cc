// The linux section.
#include <set>

#include "linux/namespaces.h"
#include "oci/validation.h"

namespace kata::oci {
namespace {

constexpr std::string_view kPropagations[] = {"shared",  "slave",  "private",  "unbindable",
                                              "rshared", "rslave", "rprivate", "runbindable"};
constexpr std::string_view kDeviceTypes[] = {"c", "b", "u", "p"};
constexpr std::string_view kPersonalities[] = {"LINUX", "LINUX32"};
constexpr std::string_view kOffsetClocks[] = {"monotonic", "boottime"};

// <linux/kdev_t.h>: 12 bits for the major number, 20 for the minor one.
constexpr int64_t kHighestMajor = (1 << 12) - 1;
constexpr int64_t kHighestMinor = (1 << 20) - 1;

Status CheckNamespaces(JsonPath& path, const std::vector<Namespace>& namespaces) {
  std::set<std::string_view> seen;
  return CheckEach(path, "namespaces", namespaces, [&](const Namespace& item) -> Status {
    TRY(CheckPresent(path, "type", item.type));
    if (!kata::linux::FindNamespaceKind(item.type)) {
      return Invalid(path, "type", "unknown value {}", Quote(item.type));
    }
    if (!seen.insert(item.type).second) return Invalid(path, "type", "{} appears twice", Quote(item.type));
    return item.path.empty() ? Status() : CheckAbsolute(path, "path", item.path);
  });
}

bool HasNamespace(const Linux& linux, std::string_view type) {
  return std::ranges::any_of(linux.namespaces, [&](const Namespace& item) { return item.type == type; });
}

Status CheckIdMappings(JsonPath& path, const Linux& linux) {
  if (linux.uid_mappings.empty() && linux.gid_mappings.empty()) return {};
  if (HasNamespace(linux, "user")) return {};
  return Invalid(path, linux.uid_mappings.empty() ? "gidMappings" : "uidMappings",
                 "given without a user namespace in namespaces");
}

Status CheckDevice(JsonPath& path, const Device& device) {
  TRY(CheckAbsolute(path, "path", device.path));
  TRY(CheckOneOf(path, "type", device.type, kDeviceTypes));
  if (device.type == "p") return {};
  TRY(CheckRange<int64_t>(path, "major", device.major, 0, kHighestMajor));
  return CheckRange<int64_t>(path, "minor", device.minor, 0, kHighestMinor);
}

// Names become paths below /proc/sys with "." or "/" between the parts: none may lead out of it.
Status CheckSysctlName(const JsonPath& path, const std::string& name) {
  size_t part = 0;
  while (true) {
    const size_t end = std::min(name.find_first_of("./", part), name.size());
    if (end == part) return path.MakeError("no name of a kernel parameter");
    if (end == name.size()) return {};
    part = end + 1;
  }
}

Status CheckTimeOffset(JsonPath& path, const std::string& clock, const TimeOffset& offset) {
  if (std::ranges::find(kOffsetClocks, clock) == std::end(kOffsetClocks))
    return path.MakeError("unknown clock");
  return CheckRange<uint32_t>(path, "nanosecs", offset.nanosecs, 0, 999'999'999);
}

Status CheckPersonality(JsonPath& path, const Personality& personality) {
  TRY(CheckOneOf(path, "domain", personality.domain, kPersonalities));
  // The specification reserves the member and defines no flag.
  if (!personality.flags.empty()) return Invalid(path, "flags", "not supported");
  return {};
}

}  // namespace

Status CheckLinux(JsonPath& path, const Linux& linux) {
  TRY(CheckNamespaces(path, linux.namespaces));
  TRY(CheckIdMappings(path, linux));
  TRY(CheckEach(path, "devices", linux.devices,
                [&](const Device& device) { return CheckDevice(path, device); }));
  TRY(CheckEach(path, "sysctl", linux.sysctl,
                [&](const std::string& name, const std::string&) { return CheckSysctlName(path, name); }));
  if (linux.resources) {
    const ScopedStep step(path, "resources");
    TRY(CheckResources(path, *linux.resources));
  }
  if (linux.seccomp) {
    const ScopedStep step(path, "seccomp");
    TRY(CheckSeccomp(path, *linux.seccomp));
  }
  if (!linux.rootfs_propagation.empty()) {
    TRY(CheckOneOf(path, "rootfsPropagation", linux.rootfs_propagation, kPropagations));
  }
  const auto check_path = [&](const std::string& masked) -> Status {
    if (masked.starts_with('/')) return {};
    return path.MakeError(fmt::format("expected an absolute path, found {}", Quote(masked)));
  };
  TRY(CheckEach(path, "maskedPaths", linux.masked_paths, check_path));
  TRY(CheckEach(path, "readonlyPaths", linux.readonly_paths, check_path));
  if (linux.personality) {
    const ScopedStep step(path, "personality");
    TRY(CheckPersonality(path, *linux.personality));
  }
  if (!linux.time_offsets.empty() && !HasNamespace(linux, "time")) {
    return Invalid(path, "timeOffsets", "given without a time namespace in namespaces");
  }
  return CheckEach(path, "timeOffsets", linux.time_offsets,
                   [&](const std::string& clock, const TimeOffset& offset) {
                     return CheckTimeOffset(path, clock, offset);
                   });
}

}  // namespace kata::oci
