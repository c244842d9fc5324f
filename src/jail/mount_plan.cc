// From OCI mounts to MountSteps.
#include "jail/mount_plan.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace kata::jail {
namespace {

// Files in /proc that a volume may replace: they inform, nothing is decided by them.
constexpr std::array<std::string_view, 12> kReplaceableProcFiles{"/proc/cpuinfo",
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

bool IsBelow(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

std::vector<std::pair<std::string, std::string>> SplitParameters(std::string_view data) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!data.empty()) {
    const size_t comma = data.find(',');
    const std::string_view word = data.substr(0, comma);
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) {
      parameters.emplace_back(word, "");
    } else {
      parameters.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
    if (comma == std::string_view::npos) break;
    data.remove_prefix(comma + 1);
  }
  return parameters;
}

// Flags of mount(2) that concern the whole file system, by the names that fsconfig(2) knows.
void AddFileSystemFlags(unsigned long flags, std::vector<std::pair<std::string, std::string>>& parameters) {
  static constexpr std::pair<unsigned long, const char*> kNames[] = {
      {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"}, {MS_MANDLOCK, "mand"}, {MS_LAZYTIME, "lazytime"}};
  for (const auto& [flag, name] : kNames) {
    if ((flags & flag) != 0) parameters.emplace_back(name, "");
  }
}

MountStep::Kind KindOf(const oci::Mount& mount, const linux::MountOptions& options) {
  if (options.IsRemount()) return MountStep::Kind::kRemount;
  if (mount.type == "bind" || options.IsBind()) return MountStep::Kind::kBind;
  if (mount.type == "cgroup" || mount.type == "cgroup2") return MountStep::Kind::kCgroup;
  return MountStep::Kind::kFileSystem;
}

Status CheckDestination(const MountStep& step) {
  if (step.destination == "/") return MakeError(Code::kInvalidArgument, "mount on '/' is not allowed");
  if (IsBelow(step.destination, "/proc") &&
      std::find(kReplaceableProcFiles.begin(), kReplaceableProcFiles.end(), step.destination) ==
          kReplaceableProcFiles.end()) {
    return MakeError(Code::kInvalidArgument, "mount on '{}': inside /proc is not allowed", step.destination);
  }
  if (step.destination == "/proc" && step.type != "proc" && step.kind != MountStep::Kind::kBind) {
    return MakeError(Code::kInvalidArgument, "mount on '/proc': type '{}' is not allowed", step.type);
  }
  return {};
}

Result<MountStep> PlanMount(const oci::Spec& spec, const oci::Mount& mount) {
  if (mount.destination.empty()) return MakeError(Code::kInvalidArgument, "a mount has no destination");
  MountStep step;
  step.options = TRY_CTX(linux::ParseMountOptions(mount.options), "mount on '{}'", mount.destination);
  step.kind = KindOf(mount, step.options);
  // A relative path means below "/": not what the specification wants, but what runtimes have always done.
  step.destination = CleanAbsolutePath(mount.destination);
  step.type = mount.type;
  step.source = mount.source;
  TRY(CheckDestination(step));
  step.set = linux::MountAttributes(step.options.flags);
  step.clear = linux::MountAttributes(step.options.cleared);
  step.no_symlinks = step.type == "proc" || step.type == "sysfs";
  if (step.kind == MountStep::Kind::kFileSystem) {
    if (step.type.empty())
      return MakeError(Code::kInvalidArgument, "mount on '{}': no type", step.destination);
    step.parameters = SplitParameters(step.options.data);
    AddFileSystemFlags(step.options.flags, step.parameters);
    step.read_only_late = step.type == "tmpfs" || step.destination == "/dev";
  }
  step.id_map = TRY_CTX(oci::PlanIdMap(spec, mount, step.options), "mount on '{}'", step.destination);
  if (step.options.copy_up && step.type != "tmpfs") {
    return MakeError(Code::kInvalidArgument, "mount on '{}': 'tmpcopyup' needs type tmpfs", step.destination);
  }
  return step;
}

}  // namespace

std::string CleanAbsolutePath(const std::string& path) {
  std::vector<std::string_view> parts;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  std::string clean;
  for (const std::string_view part : parts) {
    clean += '/';
    clean += part;
  }
  return clean.empty() ? "/" : clean;
}

bool NeedsDevices(const oci::Spec& spec) {
  return std::none_of(spec.mounts.begin(), spec.mounts.end(), [](const oci::Mount& mount) {
    const bool bind =
        mount.type == "bind" || std::any_of(mount.options.begin(), mount.options.end(),
                                            [](const auto& o) { return o == "bind" || o == "rbind"; });
    return bind && CleanAbsolutePath(mount.destination) == "/dev";
  });
}

Result<std::vector<MountStep>> PlanMounts(const oci::Spec& spec) {
  std::vector<MountStep> steps;
  steps.reserve(spec.mounts.size());
  for (const oci::Mount& mount : spec.mounts) steps.push_back(TRY(PlanMount(spec, mount)));
  return steps;
}

}  // namespace kata::jail
