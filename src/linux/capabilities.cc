// Capability sets by system call: no library state, usable in a process about to exec.
#include "linux/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace kata::linux {
namespace {

// In the order of their numbers.
constexpr std::array<std::string_view, 41> kNames{{
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
}};
static_assert(kNames.size() == CAP_LAST_CAP + 1);

}  // namespace

std::optional<int> CapabilityNumber(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<int>(i);
  }
  return std::nullopt;
}

std::string_view CapabilityName(int capability) {
  if (capability < 0 || static_cast<size_t>(capability) >= kNames.size()) return {};
  return kNames[static_cast<size_t>(capability)];
}

CapabilitySet KernelCapabilities() {
  CapabilitySet known = 0;
  // PR_CAPBSET_READ fails with EINVAL for a capability that the kernel does not know.
  for (int i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; ++i) known |= CapabilityBit(i);
  return known;
}

Status LimitBoundingSet(CapabilitySet keep) {
  for (int i = 0; i < 64; ++i) {
    const int present = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
    if (present < 0) break;
    if (present == 0 || (keep & CapabilityBit(i)) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) return SysError("drop capability {} from bounding set", i);
  }
  return {};
}

Status SetCapabilities(CapabilitySet effective, CapabilitySet permitted, CapabilitySet inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int i = 0; i < 2; ++i) {
    data[i].effective = static_cast<uint32_t>(effective >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(permitted >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) < 0) return SysError("set capabilities");
  return {};
}

Status SetAmbientSet(CapabilitySet ambient) {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
    return SysError("clear ambient capabilities");
  for (int i = 0; i < 64; ++i) {
    if ((ambient & CapabilityBit(i)) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0) {
      return SysError("raise ambient capability '{}'", CapabilityName(i));
    }
  }
  return {};
}

Status SetKeepCapabilities(bool keep) {
  if (prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) < 0) return SysError("set keep-capabilities flag");
  return {};
}

}  // namespace kata::linux
