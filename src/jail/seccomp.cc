// OCI seccomp -> libseccomp -> classic BPF. The program is exported and loaded by hand: loading is then one
// system call that allocates nothing and can be the last thing before execve.
#include "jail/seccomp.h"

#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/unique_fd.h"
#include "jail/find_by_name.h"
#include "jail/jail.h"
#include "oci/seccomp_names.h"

namespace kata::jail {
namespace {

using ContextPtr = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

constexpr std::pair<std::string_view, scmp_compare> kOperators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE},
    {"SCMP_CMP_LT", SCMP_CMP_LT},
    {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ},
    {"SCMP_CMP_GE", SCMP_CMP_GE},
    {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

constexpr std::pair<std::string_view, unsigned> kFlags[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    // Concerns notification only; harmless without it.
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0},
};

Result<uint32_t> ParseAction(const std::string& name, std::optional<uint32_t> errno_ret) {
  const uint32_t error = errno_ret.value_or(EPERM);
  // SECCOMP_RET_DATA has 16 bits.
  if (error > USHRT_MAX) return MakeError(Code::kInvalidArgument, "seccomp: errno {} is out of range", error);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(error);
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_NOTIFY")
    return MakeError(Code::kUnimplemented, "seccomp: SCMP_ACT_NOTIFY is not supported");
  return MakeError(Code::kInvalidArgument, "seccomp: unknown action '{}'", name);
}

Error SeccompError(int result, std::string_view action) {
  return ErrnoError(result == -ECANCELED ? errno : -result, fmt::format("seccomp: {}", action));
}

// By libseccomp's own names: "SCMP_ARCH_X86_64" -> "x86_64".
Result<uint32_t> ParseArchitecture(const std::string& name) {
  constexpr std::string_view kPrefix = "SCMP_ARCH_";
  if (name == oci::kSeccompNativeArchitecture) return SCMP_ARCH_NATIVE;
  uint32_t token = 0;
  if (name.starts_with(kPrefix)) {
    std::string word = name.substr(kPrefix.size());
    std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
    token = seccomp_arch_resolve_name(word.c_str());
  }
  if (token == 0) return MakeError(Code::kInvalidArgument, "seccomp: unknown architecture '{}'", name);
  return token;
}

Status AddArchitectures(scmp_filter_ctx context, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const uint32_t token = TRY(ParseArchitecture(name));
    const int result = seccomp_arch_add(context, token);
    if (result < 0 && result != -EEXIST)
      return SeccompError(result, fmt::format("add architecture '{}'", name));
  }
  return {};
}

Result<scmp_arg_cmp> ParseArgument(const oci::SeccompArg& arg) {
  if (arg.index > 5)
    return MakeError(Code::kInvalidArgument, "seccomp: argument index {} is above 5", arg.index);
  scmp_arg_cmp comparison{};
  comparison.arg = arg.index;
  comparison.op = TRY_CTX(FindByName(kOperators, arg.op, "operator"), "seccomp");
  comparison.datum_a = arg.value;
  comparison.datum_b = arg.value_two;
  return comparison;
}

Status AddRule(scmp_filter_ctx context, uint32_t action, int number, const std::string& name,
               const std::vector<scmp_arg_cmp>& comparisons) {
  const auto add = [&](const scmp_arg_cmp* first, size_t count) -> Status {
    const int result = seccomp_rule_add_array(context, action, number, static_cast<unsigned>(count), first);
    // EEXIST: the same rule twice. EDOM: no such call on one of the architectures.
    if (result < 0 && result != -EEXIST && result != -EDOM) {
      return SeccompError(result, fmt::format("add rule for '{}'", name));
    }
    return {};
  };
  bool repeated = false;
  for (size_t i = 0; i < comparisons.size(); ++i) {
    for (size_t j = i + 1; j < comparisons.size(); ++j) repeated |= comparisons[i].arg == comparisons[j].arg;
  }
  if (!repeated) return add(comparisons.data(), comparisons.size());
  // libseccomp takes one comparison of each argument in a rule. Several of one argument have always been read
  // as alternatives by OCI runtimes.
  for (const scmp_arg_cmp& comparison : comparisons) TRY(add(&comparison, 1));
  return {};
}

Status AddRules(scmp_filter_ctx context, const oci::Seccomp& seccomp, uint32_t default_action) {
  for (const oci::SeccompSyscall& entry : seccomp.syscalls) {
    const uint32_t action = TRY(ParseAction(entry.action, entry.errno_ret));
    // libseccomp refuses rules that change nothing.
    if (action == default_action) continue;
    std::vector<scmp_arg_cmp> comparisons;
    for (const oci::SeccompArg& arg : entry.args) comparisons.push_back(TRY(ParseArgument(arg)));
    for (const std::string& name : entry.names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number != __NR_SCMP_ERROR) TRY(AddRule(context, action, number, name, comparisons));
    }
  }
  return {};
}

Result<std::vector<sock_filter>> Export(scmp_filter_ctx context) {
  const UniqueFd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return SysError("seccomp: create memfd");
  const int result = seccomp_export_bpf(context, file.get());
  if (result < 0) return SeccompError(result, "compile filter");
  if (lseek(file.get(), 0, SEEK_SET) < 0) return SysError("seccomp: rewind memfd");
  const std::string bytes = TRY(ReadFd(file.get(), BPF_MAXINSNS * sizeof(sock_filter) * 2));
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(program.data()));
  return program;
}

// Architectures of the filter whose calls are numbered without a mark of their own (x32 shares x86-64's
// token). libseccomp's token is the kernel's AUDIT_ARCH_* for all of these.
std::vector<uint32_t> PlainArchitectures(scmp_filter_ctx context) {
  // 32-bit Arm is left out: its private calls (set_tls ...) have numbers above all others.
  static constexpr uint32_t kTokens[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86,     SCMP_ARCH_AARCH64,
                                         SCMP_ARCH_S390X,  SCMP_ARCH_PPC64LE, SCMP_ARCH_RISCV64};
  std::vector<uint32_t> present;
  for (const uint32_t token : kTokens) {
    if (seccomp_arch_exist(context, token) == 0) present.push_back(token);
  }
  return present;
}

int LargestKnownNumber(const oci::Seccomp& seccomp, uint32_t architecture) {
  int largest = -1;
  for (const oci::SeccompSyscall& entry : seccomp.syscalls) {
    for (const std::string& name : entry.names) {
      largest = std::max(largest, seccomp_syscall_resolve_name_arch(architecture, name.c_str()));
    }
  }
  return largest;
}

// Calls newer than every call that the profile names get ENOSYS, not the default action: a C library that
// tries a new call first falls back to the old one only on ENOSYS.
std::vector<sock_filter> UnknownCallPrologue(scmp_filter_ctx context, const oci::Seccomp& seccomp) {
  constexpr uint32_t kX32Bit = 0x40000000;
  std::vector<sock_filter> code;
  for (const uint32_t architecture : PlainArchitectures(context)) {
    const int largest = LargestKnownNumber(seccomp, architecture);
    if (largest < 0) continue;
    const sock_filter block[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kX32Bit, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<uint32_t>(largest), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    code.insert(code.end(), std::begin(block), std::end(block));
  }
  return code;
}

}  // namespace

Result<SeccompFilter> SeccompFilter::Compile(const oci::Seccomp& seccomp) {
  if (!seccomp.listener_path.empty()) {
    return MakeError(Code::kUnimplemented, "seccomp: listenerPath is not supported");
  }
  const uint32_t default_action = TRY(ParseAction(seccomp.default_action, seccomp.default_errno_ret));
  unsigned flags = 0;
  for (const std::string& flag : seccomp.flags) flags |= TRY_CTX(FindByName(kFlags, flag, "flag"), "seccomp");
  const ContextPtr context(seccomp_init(default_action), seccomp_release);
  if (!context) return MakeError(Code::kInternal, "seccomp: create filter");
  TRY(AddArchitectures(context.get(), seccomp.architectures));
  TRY(AddRules(context.get(), seccomp, default_action));
  std::vector<sock_filter> program = TRY(Export(context.get()));
  const bool permissive = default_action == SCMP_ACT_ALLOW || default_action == SCMP_ACT_LOG;
  if (!permissive && default_action != SCMP_ACT_ERRNO(ENOSYS)) {
    const std::vector<sock_filter> prologue = UnknownCallPrologue(context.get(), seccomp);
    program.insert(program.begin(), prologue.begin(), prologue.end());
  }
  if (program.size() > BPF_MAXINSNS) {
    return MakeError(Code::kResourceExhausted, "seccomp: filter has {} instructions, {} are allowed",
                     program.size(), BPF_MAXINSNS);
  }
  return SeccompFilter(std::move(program), flags);
}

Status SeccompFilter::Load() const {
  const sock_fprog program{static_cast<unsigned short>(program_.size()),
                           const_cast<sock_filter*>(program_.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags_, &program) < 0)
    return SysError("load seccomp filter");
  return {};
}

bool SeccompSupported() {
  const uint32_t action = SECCOMP_RET_ERRNO;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

}  // namespace kata::jail
