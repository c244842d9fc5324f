// Attributes of the process besides its identity: session, scheduling, execution domain.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::jail {

// A new session, with descriptor 0 as its controlling terminal if `terminal`.
Status StartSession(bool terminal);

// The container's user must be able to reopen /dev/stdout and its like.
Status GiveStdioTo(uid_t uid);

// The container's session keyring instead of the agent's, under the name that runc gives it; nothing where
// the kernel has no keyrings. `first`: the container's later processes shall find it.
Status JoinSessionKeyring(const std::string& container_id, bool first);

Status ApplyScheduler(const oci::Scheduler& scheduler);
Status ApplyIoPriority(const oci::IoPriority& priority);
Status ApplyPersonality(const oci::Personality& personality);
// `list` as for linux::ParseCpuList.
Status SetCpuAffinity(const std::string& list);
// All CPUs that the process's cgroup allows.
Status ResetCpuAffinity();

// Run by the agent: limits may be raised there and are inherited by nothing else.
Status SetProcessRlimits(pid_t pid, const std::vector<oci::Rlimit>& rlimits);
Status SetOomScoreAdjustment(pid_t pid, int64_t value);

}  // namespace kata::jail
