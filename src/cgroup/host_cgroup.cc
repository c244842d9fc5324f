#include "cgroup/host_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/scope_exit.h"
#include "base/take_field.h"
#include "cgroup/flat_keyed_file.h"
#include "linux/cgroup2.h"

namespace kata::cgroup {
namespace {

constexpr size_t kMaxPathBytes = 3800;  // below PATH_MAX, with room for mount point and file

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::string_view part = TakeField(path, '/');
    if (!part.empty() && part != ".") parts.emplace_back(part);
  }
  return parts;
}

bool HasController(std::string_view names, std::string_view controller) {
  while (!names.empty()) {
    if (TakeField(names, ',') == controller) return true;
  }
  return false;
}

// The path below the mount point, beginning with '/'.
Result<std::string> PlaceIn(const Hierarchies& hierarchies, const Hierarchy& hierarchy,
                            const std::string& cgroups_path, const std::string& id) {
  std::string path = cgroups_path.empty() ? id : cgroups_path;
  if (path.size() > kMaxPathBytes) {
    return MakeError(Code::kInvalidArgument, "linux.cgroupsPath: longer than {} bytes", kMaxPathBytes);
  }
  const std::vector<std::string> parts = SplitPath(path);
  if (parts.empty()) {
    return MakeError(Code::kInvalidArgument, "linux.cgroupsPath: '{}' names no control group", cgroups_path);
  }
  std::string result;
  if (!path.starts_with('/')) {
    result = hierarchy.own_path == "/" ? "" : hierarchy.own_path;
    // In version 2 a cgroup with processes, as this one, gives its children no controllers (the "no internal
    // processes" rule): beside it then.
    if (hierarchies.unified) result.erase(std::min(result.size(), result.find_last_of('/')));
  }
  for (const std::string& part : parts) {
    if (part == "..") {
      return MakeError(Code::kInvalidArgument, "linux.cgroupsPath: '..' in '{}'", cgroups_path);
    }
    result += "/" + part;
  }
  return result;
}

// A cpuset of version 1 begins empty, and no process may enter it then.
Status InheritCpuset(const std::string& parent, const std::string& directory) {
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    const std::string own = TRY(ReadFile(directory + file));
    if (own.find_first_not_of(" \n") != std::string::npos) continue;
    TRY(WriteKnob(directory + file, TRY(ReadFile(parent + file))));
  }
  return {};
}

// mkdir -p, by version 1's rules.
Status MakeVersion1(const std::string& name, const std::string& mount_point, const std::string& path) {
  std::string directory = mount_point;
  for (const std::string& part : SplitPath(path)) {
    const std::string parent = directory;
    directory += "/" + part;
    if (mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) {
      return SysError("create control group '{}'", directory);
    }
    if (HasController(name, "cpuset")) {
      TRY_CTX(InheritCpuset(parent, directory), "set up control group '{}'", directory);
    }
  }
  return {};
}

Status RemoveDirectory(const std::string& directory, Deadline deadline) {
  for (;;) {
    if (rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
    // A process that has ended counts until it is reaped.
    if (errno != EBUSY || deadline.Passed()) return SysError("remove control group '{}'", directory);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// The lines of cgroup.procs here and below. Groups that vanish meanwhile have none.
void CollectProcesses(const std::string& directory, int depth, std::set<std::string>& pids) {
  constexpr int kMaxDepth = 64;
  constexpr size_t kMaxBytes = 4u << 20;
  const Result<std::string> text = ReadFile(directory + "/cgroup.procs", kMaxBytes);
  for (std::string_view rest = text ? *text : std::string_view(); !rest.empty();) {
    const std::string_view line = TakeField(rest, '\n');
    if (!line.empty()) pids.emplace(line);
  }
  const Result<std::vector<std::string>> names = ListDirectory(directory);
  if (!names || depth == kMaxDepth) return;
  for (const std::string& name : *names) {
    const std::string child = fmt::format("{}/{}", directory, name);
    struct stat info{};
    if (lstat(child.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) CollectProcesses(child, depth + 1, pids);
  }
}

// The state of a group below a frozen one says so, too.
Result<bool> ReadFrozen(const std::string& name, const std::string& directory) {
  if (name.empty()) return FindNumber(TRY(ReadFile(directory + "/cgroup.events")), "frozen") != 0;
  if (!HasController(name, "freezer")) return false;
  return Trim(TRY(ReadFile(directory + "/freezer.state"))) != "THAWED";
}

// A process that enters a frozen group stands still; in version 1 not even SIGKILL ends it.
Status RefuseFrozen(const std::string& name, const std::string& directory) {
  if (!TRY(ReadFrozen(name, directory))) return {};
  return MakeError(Code::kFailedPrecondition, "container's cgroup unexpectedly frozen: '{}'", directory);
}

}  // namespace

Result<HostCgroup> HostCgroup::Plan(const Hierarchies& hierarchies, const std::string& cgroups_path,
                                    const std::string& id) {
  Directories directories;
  for (const auto& [name, hierarchy] : hierarchies.by_name) {
    directories[name] = hierarchy.mount_point + TRY(PlaceIn(hierarchies, hierarchy, cgroups_path, id));
  }
  return HostCgroup(std::move(directories));
}

Result<HostCgroup> HostCgroup::Create(const Hierarchies& hierarchies, const std::string& cgroups_path,
                                      const std::string& id) {
  HostCgroup planned = TRY(Plan(hierarchies, cgroups_path, id));
  Directories made;
  ScopeExit undo([&made] {
    for (const auto& [name, directory] : made) rmdir(directory.c_str());
  });
  for (const auto& [name, directory] : planned.directories_) {
    const std::string& mount_point = hierarchies.by_name.at(name).mount_point;
    const std::string path = directory.substr(mount_point.size());
    if (!PathExists(directory)) made[name] = directory;
    if (hierarchies.unified) {
      TRY(linux::CgroupDir::Create(mount_point, path));
    } else {
      TRY(MakeVersion1(name, mount_point, path));
    }
    TRY(RefuseFrozen(name, directory));
  }
  undo.Release();
  return planned;
}

const std::string* HostCgroup::FindController(const std::string& controller) const {
  if (unified()) return &directories_.at("");
  for (const auto& [name, directory] : directories_) {
    if (HasController(name, controller)) return &directory;
  }
  return nullptr;
}

size_t HostCgroup::CountProcesses() const {
  std::set<std::string> pids;
  for (const auto& [name, directory] : directories_) CollectProcesses(directory, 0, pids);
  return pids.size();
}

Status HostCgroup::AddProcess(pid_t pid) const {
  for (const auto& [name, directory] : directories_) {
    TRY_CTX(WriteKnob(directory + "/cgroup.procs", fmt::format("{}", pid)), "join control group");
  }
  return {};
}

Result<std::vector<UniqueFd>> HostCgroup::OpenProcs() const {
  std::vector<UniqueFd> fds;
  for (const auto& [name, directory] : directories_) {
    fds.push_back(TRY_CTX(Open(directory + "/cgroup.procs", O_WRONLY), "join control group"));
  }
  return fds;
}

Status HostCgroup::Apply(const std::vector<Setting>& settings) const {
  linux::KnobChanges changes;
  TRY(Apply(settings, changes));
  changes.Keep();
  return {};
}

Status HostCgroup::Apply(const std::vector<Setting>& settings, linux::KnobChanges& changes) const {
  if (empty()) return {};
  std::vector<const Setting*> refused;
  const auto write = [&](const Setting& setting, const std::string& value) -> Status {
    const std::string* directory = FindController(setting.controller);
    if (directory == nullptr) {
      if (!setting.required) return {};
      return MakeError(Code::kFailedPrecondition, "set {} to '{}': the host has no control group '{}'",
                       setting.file, value, setting.controller);
    }
    const Status written = changes.Write(AT_FDCWD, *directory + "/" + setting.file, value);
    if (written) return {};
    if (written.error().sys_errno() == ENOENT && !setting.required) {
      log::Debug("the host has no such limit; the guest has", {{"file", setting.file}, {"value", value}});
      return {};
    }
    return Error(written.error()).Wrap(fmt::format("limit '{}'", Trim(value)));
  };
  for (const Setting& setting : settings) {
    if (!write(setting, setting.value)) refused.push_back(&setting);
  }
  // Some limits bound each other (memory may not exceed memory and swap together), so that the order depends
  // on what is set now: what was refused is tried again when the others are written.
  for (const Setting* setting : refused) {
    Status written = write(*setting, setting->value);
    if (!written && !setting->fallback.empty()) written = write(*setting, setting->fallback);
    TRY(written);
  }
  return {};
}

uint64_t HostCgroup::OomKills() const {
  const std::string* directory = FindController("memory");
  if (directory == nullptr) return 0;
  const Result<std::string> text =
      ReadFile(*directory + (unified() ? "/memory.events" : "/memory.oom_control"));
  return text ? FindNumber(*text, "oom_kill") : 0;
}

bool HostCgroup::IsFrozen() const {
  return std::any_of(directories_.begin(), directories_.end(),
                     [](const auto& entry) { return ReadFrozen(entry.first, entry.second).value_or(false); });
}

Status HostCgroup::Remove(Deadline deadline) const {
  Status result;
  for (const auto& [name, directory] : directories_) {
    if (Status removed = RemoveDirectory(directory, deadline); !removed && result)
      result = std::move(removed);
  }
  return result;
}

}  // namespace kata::cgroup
