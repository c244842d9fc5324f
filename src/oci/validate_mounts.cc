// The mounts.
#include "oci/id_map.h"
#include "oci/mounts.h"
#include "oci/validation.h"

namespace kata::oci {
namespace {

// Files in /proc that a volume may replace: they inform, nothing is decided by them.
constexpr std::string_view kReplaceableProcFiles[] = {"/proc/cpuinfo",
                                                      "/proc/diskstats",
                                                      "/proc/meminfo",
                                                      "/proc/stat",
                                                      "/proc/swaps",
                                                      "/proc/uptime",
                                                      "/proc/loadavg",
                                                      "/proc/slabinfo",
                                                      "/proc/net/dev",
                                                      "/proc/cmdline",
                                                      "/proc/sys/kernel/ns_last_pid",
                                                      "/proc/sys/crypto/fips_enabled"};

Status CheckDestination(JsonPath& path, const std::string& destination) {
  TRY(CheckPresent(path, "destination", destination));
  const std::string place = CleanAbsolutePath(destination);
  if (place == "/") return Invalid(path, "destination", "the root cannot be mounted on");
  if (place.starts_with("/proc/") &&
      std::ranges::find(kReplaceableProcFiles, place) == std::end(kReplaceableProcFiles)) {
    return Invalid(path, "destination", "{} is inside /proc", Quote(place));
  }
  return {};
}

Status CheckType(JsonPath& path, const Mount& mount, MountKind kind) {
  if (kind == MountKind::kFileSystem) TRY(CheckPresent(path, "type", mount.type));
  if (kind == MountKind::kBind) TRY(CheckPresent(path, "source", mount.source));
  if (mount.type != "proc" && kind != MountKind::kBind && CleanAbsolutePath(mount.destination) == "/proc") {
    return Invalid(path, "type", "{} cannot be mounted on /proc", Quote(mount.type));
  }
  return {};
}

Status CheckMappings(JsonPath& path, const Mount& mount) {
  if (mount.uid_mappings.empty() == mount.gid_mappings.empty()) return {};
  const bool no_uids = mount.uid_mappings.empty();
  return Invalid(path, no_uids ? "uidMappings" : "gidMappings", "missing, {} are there",
                 no_uids ? "gidMappings" : "uidMappings");
}

Status CheckMount(JsonPath& path, const Spec& spec, const Mount& mount) {
  TRY(CheckDestination(path, mount.destination));
  const kata::linux::MountOptions options = TRY(kata::linux::ParseMountOptions(mount.options));
  TRY(CheckType(path, mount, KindOf(mount, options)));
  if (options.copy_up && mount.type != "tmpfs") return Invalid(path, "options", "tmpcopyup needs type tmpfs");
  TRY(CheckMappings(path, mount));
  if (const auto id_map = PlanIdMap(spec, mount, options); !id_map) {
    return path.MakeError(id_map.error().message());
  }
  return {};
}

}  // namespace

Status CheckMounts(JsonPath& path, const Spec& spec) {
  return CheckEach(path, "mounts", spec.mounts,
                   [&](const Mount& mount) { return CheckMount(path, spec, mount); });
}

}  // namespace kata::oci
