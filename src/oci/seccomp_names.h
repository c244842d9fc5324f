// The words of linux.seccomp, as libseccomp and the kernel have them.
#pragma once

#include <string_view>

namespace kata::oci {

// Known, so that it can be refused for what it is.
inline constexpr std::string_view kSeccompNotify = "SCMP_ACT_NOTIFY";

inline constexpr std::string_view kSeccompActions[] = {
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",   "SCMP_ACT_TRACE", "SCMP_ACT_TRAP", kSeccompNotify};

inline constexpr std::string_view kSeccompOperators[] = {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
                                                         "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                                                         "SCMP_CMP_NE"};

inline constexpr std::string_view kSeccompNativeArchitecture = "SCMP_ARCH_NATIVE";

// Others are "SCMP_ARCH_" and libseccomp's name in capitals.
inline constexpr std::string_view kSeccompArchitectures[] = {
    "SCMP_ARCH_AARCH64",        "SCMP_ARCH_ARM",     "SCMP_ARCH_MIPS",     "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",      "SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
    kSeccompNativeArchitecture, "SCMP_ARCH_PARISC",  "SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",          "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64",  "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",          "SCMP_ARCH_X32",     "SCMP_ARCH_X86",      "SCMP_ARCH_X86_64"};

inline constexpr std::string_view kSeccompFlags[] = {
    "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"};

}  // namespace kata::oci
