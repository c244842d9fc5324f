// HostCgroup: the control groups on the host that a container's processes there are in: kata-shim, the VMM
// and its helpers. One directory in each hierarchy.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cgroup/hierarchies.h"
#include "cgroup/limits.h"
#include "linux/knob_changes.h"

namespace kata::cgroup {

// A value: the directories themselves are shared state. Not thread safe.
class HostCgroup {
 public:
  // By the names of Hierarchies::by_name.
  using Directories = std::map<std::string, std::string>;

  // No control groups: all calls succeed and do nothing.
  HostCgroup() = default;
  // What Create has made earlier, perhaps in another process.
  explicit HostCgroup(Directories directories) : directories_(std::move(directories)) {}

  // The directories that linux.cgroupsPath names. An absolute path counts from the root of each hierarchy, a
  // relative one from this process's cgroup; an empty one means `id`.
  static Result<HostCgroup> Plan(const Hierarchies& hierarchies, const std::string& cgroups_path,
                                 const std::string& id);
  // Makes these. Directories that exist are used, but not frozen ones. After a failure none is left that was
  // made here.
  static Result<HostCgroup> Create(const Hierarchies& hierarchies, const std::string& cgroups_path,
                                   const std::string& id);

  const Directories& directories() const { return directories_; }
  bool empty() const { return directories_.empty(); }
  bool unified() const { return directories_.contains(""); }

  // How many processes are in them and the groups below.
  size_t CountProcesses() const;
  // Moves a process into all of them.
  Status AddProcess(pid_t pid) const;
  // cgroup.procs of every directory, for Command::cgroup_procs_fds.
  Result<std::vector<UniqueFd>> OpenProcs() const;
  // Writes limits; after a failure they are what they were. The error names file and value.
  Status Apply(const std::vector<Setting>& settings) const;
  // The same as `changes`, to be taken back by the caller.
  Status Apply(const std::vector<Setting>& settings, linux::KnobChanges& changes) const;
  // How often the kernel killed a process in them for lack of memory; 0 where that is not counted.
  uint64_t OomKills() const;
  // Whether somebody has frozen them, so that no process in them goes on. False where that cannot be read.
  bool IsFrozen() const;
  // The directory of a controller's hierarchy; null where it has none. Lives as long as this object.
  const std::string* FindController(const std::string& controller) const;
  // Removes the directories, trying again while the last processes leave them. Idempotent.
  Status Remove(Deadline deadline) const;

 private:
  Directories directories_;
};

}  // namespace kata::cgroup
