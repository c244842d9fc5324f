// Session, keyring, scheduling, personality, limits.
#include "jail/process_attributes.h"

#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/ioprio.h>
#include <linux/keyctl.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "jail/find_by_name.h"
#include "linux/cpu_list.h"
#include "linux/rlimits.h"

namespace kata::jail {
namespace {

constexpr std::pair<std::string_view, uint32_t> kPolicies[] = {
    {"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},       {"SCHED_BATCH", 3},
    {"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6},
};

constexpr std::pair<std::string_view, uint64_t> kSchedulerFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};

constexpr std::pair<std::string_view, int> kIoClasses[] = {
    {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
    {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
    {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
};

constexpr std::pair<std::string_view, unsigned long> kDomains[] = {{"LINUX", PER_LINUX},
                                                                   {"LINUX32", PER_LINUX32}};

// keyrings(7), "Permissions": all for the possessor; for the user to view, read, link (as the kernel gives)
// and search, without which a keyring is not found by its name.
constexpr unsigned kSessionKeyringRights = 0x3f1b0000;

// sched_attr of sched_setattr(2); <linux/sched/types.h> collides with the C library's <sched.h>.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};

}  // namespace

Status StartSession(bool terminal) {
  if (setsid() < 0) return SysError("create session");
  if (terminal && ioctl(0, TIOCSCTTY, 0) < 0) return SysError("set controlling terminal");
  return {};
}

Status GiveStdioTo(uid_t uid) {
  struct stat null_info{};
  if (stat("/dev/null", &null_info) < 0) null_info = {};
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info{};
    if (fstat(fd, &info) < 0) return SysError("read status of file descriptor {}", fd);
    // The null device is everybody's.
    if (info.st_uid == uid || (S_ISCHR(info.st_mode) && info.st_rdev == null_info.st_rdev)) continue;
    // EINVAL: an id without mapping; EPERM, EROFS: somebody else's file. All can still be written through the
    // descriptor itself.
    if (fchown(fd, uid, static_cast<gid_t>(-1)) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS) {
      return SysError("set owner of file descriptor {}", fd);
    }
  }
  return {};
}

Status JoinSessionKeyring(const std::string& container_id, bool first) {
  const std::string name = "_ses." + container_id;
  const long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.c_str(), 0, 0, 0);
  if (keyring < 0) return errno == ENOSYS ? Status() : SysError("join session keyring '{}'", name);
  // EACCES: somebody else's of that name, who has let the container find it.
  if (first && syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, kSessionKeyringRights, 0, 0) < 0 &&
      errno != EACCES)
    return SysError("set rights of session keyring '{}'", name);
  return {};
}

Status ApplyScheduler(const oci::Scheduler& scheduler) {
  SchedulingAttributes attributes;
  attributes.policy = TRY(FindByName(kPolicies, scheduler.policy, "scheduling policy"));
  attributes.nice = scheduler.nice;
  attributes.priority = static_cast<uint32_t>(scheduler.priority);
  attributes.runtime_ns = scheduler.runtime_ns;
  attributes.deadline_ns = scheduler.deadline_ns;
  attributes.period_ns = scheduler.period_ns;
  for (const std::string& flag : scheduler.flags) {
    attributes.flags |= TRY(FindByName(kSchedulerFlags, flag, "scheduling flag"));
  }
  if (syscall(SYS_sched_setattr, 0, &attributes, 0) < 0)
    return SysError("set scheduler '{}'", scheduler.policy);
  return {};
}

Status ApplyIoPriority(const oci::IoPriority& priority) {
  const int io_class = TRY(FindByName(kIoClasses, priority.io_class, "I/O priority class"));
  if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(io_class, priority.priority)) < 0) {
    return SysError("set I/O priority '{}' {}", priority.io_class, priority.priority);
  }
  return {};
}

Status ApplyPersonality(const oci::Personality& personality_spec) {
  const unsigned long domain = TRY(FindByName(kDomains, personality_spec.domain, "execution domain"));
  if (!personality_spec.flags.empty()) {
    return MakeError(Code::kInvalidArgument, "unknown personality flag '{}'", personality_spec.flags[0]);
  }
  if (personality(domain) < 0) return SysError("set execution domain '{}'", personality_spec.domain);
  return {};
}

Status SetCpuAffinity(const std::string& list) {
  const linux::CpuSet cpus = TRY(linux::ParseCpuList(list));
  // The guest has far fewer than this set holds.
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (cpus.test(cpu)) CPU_SET(cpu, &set);
  }
  if (sched_setaffinity(0, sizeof(set), &set) < 0) return SysError("set CPU affinity '{}'", list);
  return {};
}

Status ResetCpuAffinity() {
  cpu_set_t set;
  std::memset(&set, 0xff, sizeof(set));
  if (sched_setaffinity(0, sizeof(set), &set) < 0) return SysError("reset CPU affinity");
  return {};
}

Status SetProcessRlimits(pid_t pid, const std::vector<oci::Rlimit>& rlimits) {
  for (const oci::Rlimit& limit : rlimits) {
    const int resource = TRY(linux::ParseRlimit(limit.type));
    const struct rlimit value{limit.soft, limit.hard};
    if (prlimit(pid, static_cast<__rlimit_resource>(resource), &value, nullptr) < 0) {
      return SysError("set '{}' to {}:{}", limit.type, limit.soft, limit.hard);
    }
  }
  return {};
}

Status SetOomScoreAdjustment(pid_t pid, int64_t value) {
  const std::string knob = fmt::format("/proc/{}/oom_score_adj", pid);
  TRY_CTX(WriteKnob(knob, fmt::format("{}", value)), "set OOM score adjustment to {}", value);
  return {};
}

}  // namespace kata::jail
