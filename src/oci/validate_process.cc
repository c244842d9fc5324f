// The process section.
#include <set>

#include "linux/rlimits.h"
#include "oci/limits.h"
#include "oci/validation.h"

namespace kata::oci {
namespace {

constexpr std::string_view kSchedulerPolicies[] = {
    "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"};
constexpr std::string_view kSchedulerFlags[] = {"SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM",
                                                "SCHED_FLAG_DL_OVERRUN",    "SCHED_FLAG_KEEP_POLICY",
                                                "SCHED_FLAG_KEEP_PARAMS",   "SCHED_FLAG_UTIL_CLAMP_MIN",
                                                "SCHED_FLAG_UTIL_CLAMP_MAX"};
constexpr std::string_view kIoPriorityClasses[] = {"IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"};

// (uid_t)-1 means "leave as it is" to the system calls.
constexpr uint32_t kHighestId = UINT32_MAX - 1;

Status CheckUser(JsonPath& path, const User& user) {
  TRY(CheckRange<uint32_t>(path, "uid", user.uid, 0, kHighestId));
  TRY(CheckRange<uint32_t>(path, "gid", user.gid, 0, kHighestId));
  TRY(CheckRange(path, "umask", user.umask, 0, 0777));
  if (user.additional_gids.size() > kMaxAdditionalGids) {
    return Invalid(path, "additionalGids", "{} entries, the kernel takes at most {}",
                   user.additional_gids.size(), kMaxAdditionalGids);
  }
  return {};
}

Status CheckArgumentSize(const JsonPath& path, const std::string& argument) {
  if (argument.size() < kMaxArgumentBytes) return {};
  return path.MakeError(
      fmt::format("{} bytes, the kernel takes at most {}", argument.size(), kMaxArgumentBytes - 1));
}

// What execve(2) would refuse with E2BIG, said with the member's name.
Status CheckArguments(JsonPath& path, const Process& process) {
  if (process.args.empty()) return Invalid(path, "args", "missing");
  TRY(CheckEach(path, "args", process.args,
                [&](const std::string& argument) { return CheckArgumentSize(path, argument); }));
  TRY(CheckEach(path, "env", process.env, [&](const std::string& variable) -> Status {
    const size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return path.MakeError(fmt::format("expected NAME=value, found {}", Quote(variable)));
    }
    return CheckArgumentSize(path, variable);
  }));
  size_t args_bytes = 0;
  size_t env_bytes = 0;
  for (const std::string& argument : process.args) args_bytes += argument.size() + 1 + sizeof(char*);
  for (const std::string& variable : process.env) env_bytes += variable.size() + 1 + sizeof(char*);
  if (args_bytes + env_bytes > kMaxArgumentsBytes) {
    return Invalid(path, args_bytes > env_bytes ? "args" : "env",
                   "{} bytes of args and {} of env, the kernel takes at most {} together", args_bytes,
                   env_bytes, kMaxArgumentsBytes);
  }
  return {};
}

Status CheckRlimits(JsonPath& path, const std::vector<Rlimit>& rlimits) {
  std::set<std::string_view> seen;
  return CheckEach(path, "rlimits", rlimits, [&](const Rlimit& rlimit) -> Status {
    TRY(CheckPresent(path, "type", rlimit.type));
    if (!kata::linux::ParseRlimit(rlimit.type)) {
      return Invalid(path, "type", "unknown value {}", Quote(rlimit.type));
    }
    if (!seen.insert(rlimit.type).second) return Invalid(path, "type", "{} appears twice", rlimit.type);
    if (rlimit.soft > rlimit.hard) {
      return Invalid(path, "soft", "{} is above the hard limit {}", rlimit.soft, rlimit.hard);
    }
    return {};
  });
}

// What the kernel ignores for another policy would seem to be in force.
Status CheckMembersOfPolicy(JsonPath& path, const Scheduler& scheduler) {
  if (scheduler.priority != 0 && scheduler.policy != "SCHED_FIFO" && scheduler.policy != "SCHED_RR") {
    return Invalid(path, "priority", "only SCHED_FIFO and SCHED_RR have one");
  }
  if (scheduler.policy == "SCHED_DEADLINE") return {};
  for (const auto& [member, value] : {std::pair("runtime", scheduler.runtime_ns),
                                      {"deadline", scheduler.deadline_ns},
                                      {"period", scheduler.period_ns}}) {
    if (value != 0) return Invalid(path, member, "only SCHED_DEADLINE has one");
  }
  return {};
}

Status CheckScheduler(JsonPath& path, const Scheduler& scheduler) {
  TRY(CheckOneOf(path, "policy", scheduler.policy, kSchedulerPolicies));
  TRY(CheckRange<int32_t>(path, "nice", scheduler.nice, -20, 19));
  TRY(CheckRange<int32_t>(path, "priority", scheduler.priority, 0, 99));
  TRY(CheckMembersOfPolicy(path, scheduler));
  return CheckEach(path, "flags", scheduler.flags,
                   [&](const std::string& flag) { return CheckKnown(path, flag, kSchedulerFlags); });
}

}  // namespace

Status CheckProcess(JsonPath& path, const Process& process) {
  {
    const ScopedStep step(path, "user");
    TRY(CheckUser(path, process.user));
  }
  TRY(CheckArguments(path, process));
  TRY(CheckAbsolute(path, "cwd", process.cwd));
  TRY(CheckRlimits(path, process.rlimits));
  TRY(CheckRange(path, "oomScoreAdj", process.oom_score_adj, -1000, 1000));
  if (process.scheduler) {
    const ScopedStep step(path, "scheduler");
    TRY(CheckScheduler(path, *process.scheduler));
  }
  if (process.io_priority) {
    const ScopedStep step(path, "ioPriority");
    TRY(CheckOneOf(path, "class", process.io_priority->io_class, kIoPriorityClasses));
    TRY(CheckRange<int32_t>(path, "priority", process.io_priority->priority, 0, 7));
  }
  if (process.exec_cpu_affinity) {
    const ScopedStep step(path, "execCPUAffinity");
    TRY(CheckCpuList(path, "initial", process.exec_cpu_affinity->initial));
    TRY(CheckCpuList(path, "final", process.exec_cpu_affinity->final));
  }
  return {};
}

}  // namespace kata::oci
