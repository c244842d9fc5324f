// The linux.seccomp section.
#include <climits>

#include "oci/seccomp_names.h"
#include "oci/validation.h"

namespace kata::oci {
namespace {

// A system call has six arguments.
constexpr uint32_t kLastArgument = 5;
// SECCOMP_RET_DATA has 16 bits.
constexpr uint32_t kHighestErrno = USHRT_MAX;

Status CheckSyscall(JsonPath& path, const SeccompSyscall& syscall) {
  if (syscall.names.empty()) return Invalid(path, "names", "missing");
  TRY(CheckOneOf(path, "action", syscall.action, kSeccompActions));
  TRY(CheckRange(path, "errnoRet", syscall.errno_ret, 0, kHighestErrno));
  return CheckEach(path, "args", syscall.args, [&](const SeccompArg& arg) -> Status {
    TRY(CheckRange<uint32_t>(path, "index", arg.index, 0, kLastArgument));
    return CheckOneOf(path, "op", arg.op, kSeccompOperators);
  });
}

}  // namespace

Status CheckSeccomp(JsonPath& path, const Seccomp& seccomp) {
  TRY(CheckOneOf(path, "defaultAction", seccomp.default_action, kSeccompActions));
  TRY(CheckRange(path, "defaultErrnoRet", seccomp.default_errno_ret, 0, kHighestErrno));
  TRY(CheckEach(path, "architectures", seccomp.architectures, [&](const std::string& architecture) {
    return CheckKnown(path, architecture, kSeccompArchitectures);
  }));
  TRY(CheckEach(path, "flags", seccomp.flags,
                [&](const std::string& flag) { return CheckKnown(path, flag, kSeccompFlags); }));
  return CheckEach(path, "syscalls", seccomp.syscalls,
                   [&](const SeccompSyscall& syscall) { return CheckSyscall(path, syscall); });
}

}  // namespace kata::oci
