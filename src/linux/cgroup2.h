// Control groups, version 2: one directory of the hierarchy and its files.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// A cgroup by directory. Destruction only closes it; Remove() removes. Not thread safe.
class CgroupDir {
 public:
  CgroupDir() = default;
  // Creates `path` ("/kata/c1") below `root`, the mount point of a cgroup2 file system, with its parents;
  // enables in each parent every controller it has, as far as the kernel lets it. An existing cgroup is used
  // as it is.
  static Result<CgroupDir> Create(const std::string& root, const std::string& path);
  static Result<CgroupDir> Open(const std::string& directory);

  bool valid() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }  // for CLONE_INTO_CGROUP
  const std::string& directory() const { return directory_; }

  Status AddProcess(pid_t pid) const;
  // cgroup.procs, open for writing: a process that writes "0" moves itself.
  Result<UniqueFd> OpenProcs() const;

  // The directory at `path` below this one; "" and "/" are this one. kInvalidArgument for a path that leaves
  // it.
  Result<UniqueFd> OpenBelow(const std::string& path) const;

  bool HasFile(const std::string& name) const;
  // The content of a file without its last line end.
  Result<std::string> Read(const std::string& name) const;
  // A file with one number; "max" gives UINT64_MAX.
  Result<uint64_t> ReadNumber(const std::string& name) const;
  // "key value" lines, e.g. cgroup.events, memory.stat.
  Result<std::map<std::string, uint64_t>> ReadKeyedNumbers(const std::string& name) const;
  Status Write(const std::string& name, std::string_view value) const;

  // cgroup.freeze; waits until cgroup.events says so.
  Status Freeze(Deadline deadline) const;
  Status Thaw(Deadline deadline) const;
  // SIGKILL to every process in this cgroup and those below, also frozen ones (cgroup.kill).
  Status Kill() const;
  // Whether a process lives here or below.
  Result<bool> Populated() const;
  // Processes here and below, in the pid namespace of the caller.
  Result<std::vector<pid_t>> Processes() const;
  // How often the OOM killer ended a process here or below (memory.events: oom_kill); 0 without memory
  // controller.
  Result<uint64_t> OomKills() const;
  // Removes the cgroup and those below, trying again while the last processes leave it. Missing is success.
  Status Remove(Deadline deadline);

 private:
  CgroupDir(std::string directory, UniqueFd fd) : directory_(std::move(directory)), fd_(std::move(fd)) {}
  Status SetFrozen(bool frozen, Deadline deadline) const;
  Status WaitFrozen(bool frozen, Deadline deadline) const;

  std::string directory_;
  UniqueFd fd_;
};

// The path of the process's cgroup, as seen from the caller's cgroup namespace.
Result<std::string> CgroupOfProcess(pid_t pid);

}  // namespace kata::linux
