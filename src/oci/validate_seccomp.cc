// The linux.seccomp section.
#include "oci/validation.h"

namespace kata::oci {
namespace {

constexpr std::string_view kActions[] = {"SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                                         "SCMP_ACT_TRAP",  "SCMP_ACT_ERRNO",        "SCMP_ACT_TRACE",
                                         "SCMP_ACT_ALLOW", "SCMP_ACT_LOG",          "SCMP_ACT_NOTIFY"};
constexpr std::string_view kOperators[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
                                           "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
// A system call has six arguments.
constexpr uint32_t kLastArgument = 5;

Status CheckSyscall(JsonPath& path, const SeccompSyscall& syscall) {
  if (syscall.names.empty()) return Invalid(path, "names", "missing");
  TRY(CheckOneOf(path, "action", syscall.action, kActions));
  return CheckEach(path, "args", syscall.args, [&](const SeccompArg& arg) -> Status {
    TRY(CheckRange<uint32_t>(path, "index", arg.index, 0, kLastArgument));
    return CheckOneOf(path, "op", arg.op, kOperators);
  });
}

}  // namespace

Status CheckSeccomp(JsonPath& path, const Seccomp& seccomp) {
  TRY(CheckOneOf(path, "defaultAction", seccomp.default_action, kActions));
  return CheckEach(path, "syscalls", seccomp.syscalls,
                   [&](const SeccompSyscall& syscall) { return CheckSyscall(path, syscall); });
}

}  // namespace kata::oci
