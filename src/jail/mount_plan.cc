// From OCI mounts to MountSteps.
#include "jail/mount_plan.h"

#include <sys/mount.h>

#include <algorithm>
#include <string_view>

#include "base/take_field.h"

namespace kata::jail {
namespace {

std::vector<std::pair<std::string, std::string>> SplitParameters(std::string_view data) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!data.empty()) {
    std::string_view value = TakeField(data, ',');
    const std::string_view name = TakeField(value, '=');
    parameters.emplace_back(name, value);
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

Result<MountStep> PlanMount(const oci::Spec& spec, const oci::Mount& mount) {
  MountStep step;
  step.options = TRY_CTX(linux::ParseMountOptions(mount.options), "mount on '{}'", mount.destination);
  step.kind = oci::KindOf(mount, step.options);
  step.destination = oci::CleanAbsolutePath(mount.destination);
  step.type = mount.type;
  step.source = mount.source;
  step.set = linux::MountAttributes(step.options.flags);
  step.clear = linux::MountAttributes(step.options.cleared);
  step.no_symlinks = step.type == "proc" || step.type == "sysfs";
  if (step.kind == MountStep::Kind::kFileSystem) {
    step.parameters = SplitParameters(step.options.data);
    AddFileSystemFlags(step.options.flags, step.parameters);
    step.read_only_late = step.type == "tmpfs" || step.destination == "/dev";
  }
  step.id_map = TRY_CTX(oci::PlanIdMap(spec, mount, step.options), "mount on '{}'", step.destination);
  return step;
}

}  // namespace

bool NeedsDevices(const oci::Spec& spec) {
  return std::none_of(spec.mounts.begin(), spec.mounts.end(), [](const oci::Mount& mount) {
    const bool bind =
        mount.type == "bind" || std::any_of(mount.options.begin(), mount.options.end(),
                                            [](const auto& o) { return o == "bind" || o == "rbind"; });
    return bind && oci::CleanAbsolutePath(mount.destination) == "/dev";
  });
}

Result<std::vector<MountStep>> PlanMounts(const oci::Spec& spec) {
  std::vector<MountStep> steps;
  steps.reserve(spec.mounts.size());
  for (const oci::Mount& mount : spec.mounts) steps.push_back(TRY(PlanMount(spec, mount)));
  return steps;
}

}  // namespace kata::jail
