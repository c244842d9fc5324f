// The table of resource limits.
#include "linux/rlimits.h"

#include <sys/resource.h>

#include <utility>

namespace kata::linux {
namespace {

constexpr std::pair<std::string_view, int> kRlimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_CORE", RLIMIT_CORE},
    {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},
    {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_NPROC", RLIMIT_NPROC},
    {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    {"RLIMIT_RTTIME", RLIMIT_RTTIME},
    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
};

}  // namespace

Result<int> ParseRlimit(std::string_view name) {
  for (const auto& [known, number] : kRlimits) {
    if (known == name) return number;
  }
  return MakeError(Code::kInvalidArgument, "unknown resource limit '{}'", name);
}

Status SetRlimit(std::string_view name, uint64_t soft, uint64_t hard) {
  const int resource = TRY(ParseRlimit(name));
  const rlimit limit{soft, hard};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) < 0) {
    return SysError("set '{}' to {}:{}", name, soft, hard);
  }
  return {};
}

}  // namespace kata::linux
