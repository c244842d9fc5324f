// Without these limits a container could use up what the kernel has one of: process ids, and memory that no
// killed process gives back. Then the agent could start nothing any more, not even what ends the container.
#include "agent/container_limits.h"

#include <sys/sysinfo.h>

#include <algorithm>

#include "base/file.h"
#include "base/parse_number.h"
#include "base/take_field.h"
#include "linux/cgroup2.h"

namespace kata::agent {
namespace {

// The agent's own part is protected by memory.min besides; the rest is for the kernel.
constexpr uint64_t kMemoryReserve = 32u << 20;
// The agent's threads, set-up processes of containers and execs, programs such as mkfs.
constexpr uint64_t kTaskReserve = 128;

struct SharedLimit {
  const char* path;  // below /proc/sys
  const char* value;
};
constexpr char kMaxInt[] = "2147483647";
constexpr char kMaxLong[] = "9223372036854775807";
constexpr SharedLimit kSharedLimits[] = {
    {"fs/file-max", kMaxLong},  // a hundredth of the memory, for all but root with all rights
    {"fs/epoll/max_user_watches", kMaxLong},
    {"fs/inotify/max_user_instances", kMaxInt},
    {"fs/inotify/max_user_watches", kMaxInt},
    {"fs/fanotify/max_user_groups", kMaxInt},
    {"fs/fanotify/max_user_marks", kMaxInt},
    // Who has a lease on a file keeps others waiting in open(2), for 45 s: the agent, when it looks at a
    // control group that the container sees as well.
    {"fs/leases-enable", "0"},
    {"fs/pipe-user-pages-soft", "0"},  // none
    {"kernel/pty/max", "1048576"},     // as many as there are device numbers
    // No control group counts the memory of keys; of its own accord the kernel would let root have a million.
    {"kernel/keys/root_maxkeys", "10000"},
    {"kernel/keys/root_maxbytes", "4000000"},
    {"user/max_cgroup_namespaces", kMaxInt},
    {"user/max_ipc_namespaces", kMaxInt},
    {"user/max_mnt_namespaces", kMaxInt},
    {"user/max_net_namespaces", kMaxInt},
    {"user/max_pid_namespaces", kMaxInt},
    {"user/max_time_namespaces", kMaxInt},
    {"user/max_user_namespaces", kMaxInt},
    {"user/max_uts_namespaces", kMaxInt},
};

Result<uint64_t> ReadNumber(const std::string& path) {
  const std::string text = TRY(ReadFile(path, 4096));
  const std::optional<uint64_t> value = ParseNumber<uint64_t>(Trim(text));
  if (!value) return MakeError(Code::kInternal, "'{}' holds no number", path);
  return *value;
}

Status WriteLimit(const linux::CgroupDir& cgroup, const char* file, uint64_t value) {
  if (!cgroup.HasFile(file)) return {};
  return cgroup.Write(file, fmt::format("{}", value));
}

}  // namespace

ContainerLimits PlanContainerLimits(uint64_t total_memory_bytes, uint64_t max_tasks, uint64_t other_tasks) {
  ContainerLimits limits;
  limits.memory_bytes = total_memory_bytes - std::min(kMemoryReserve, total_memory_bytes / 4);
  limits.tasks = max_tasks - std::min(other_tasks + kTaskReserve, max_tasks / 4);
  return limits;
}

Result<ContainerLimits> LimitContainers(const std::string& cgroup_root) {
  const linux::CgroupDir cgroup = TRY(linux::CgroupDir::Create(cgroup_root, kContainersCgroup));
  struct sysinfo info{};
  if (sysinfo(&info) != 0) return SysError("read the size of the guest");
  const uint64_t threads_max = TRY(ReadNumber("/proc/sys/kernel/threads-max"));
  const uint64_t pid_max = TRY(ReadNumber("/proc/sys/kernel/pid_max"));
  const uint64_t inside = cgroup.HasFile("pids.current") ? TRY(cgroup.ReadNumber("pids.current")) : 0;
  const uint64_t other_tasks = info.procs - std::min<uint64_t>(inside, info.procs);
  const ContainerLimits limits = PlanContainerLimits(uint64_t{info.totalram} * info.mem_unit,
                                                     std::min(threads_max, pid_max), other_tasks);
  TRY(WriteLimit(cgroup, "memory.max", limits.memory_bytes));
  TRY(WriteLimit(cgroup, "pids.max", limits.tasks));
  return limits;
}

std::vector<std::string> SetSharedLimits(const std::string& proc_sys) {
  std::vector<std::string> problems;
  for (const SharedLimit& limit : kSharedLimits) {
    const std::string path = proc_sys + "/" + limit.path;
    if (!PathExists(path)) continue;  // a kernel without it
    if (const Status status = WriteKnob(path, limit.value); !status)
      problems.push_back(status.error().message());
  }
  return problems;
}

}  // namespace kata::agent
