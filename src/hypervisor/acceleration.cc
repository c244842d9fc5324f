// Which acceleration this machine can really offer.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <string>
#include <utility>

#include "base/file.h"
#include "hypervisor/driver.h"

namespace kata::hypervisor {
namespace {

// Linux has promised not to change it any more (Documentation/virt/kvm/api.rst, KVM_GET_API_VERSION).
constexpr int kKvmApiVersion = 12;

bool KvmOpens() {
  const Result<UniqueFd> kvm = Open("/dev/kvm", O_RDWR);
  return kvm && ioctl(kvm->get(), KVM_GET_API_VERSION, 0) == kKvmApiVersion;
}

// Whether the first processor's "flags" line has vmx or svm.
bool ProcessorVirtualizes() {
#if defined(__x86_64__)
  const Result<std::string> cpuinfo = ReadFile("/proc/cpuinfo");
  if (!cpuinfo) return false;
  const size_t start = cpuinfo->find("\nflags");
  if (start == std::string::npos) return false;
  const std::string flags = cpuinfo->substr(start, cpuinfo->find('\n', start + 1) - start) + " ";
  return flags.find(" vmx ") != std::string::npos || flags.find(" svm ") != std::string::npos;
#else
  return true;
#endif
}

}  // namespace

Acceleration ResolveAcceleration(Acceleration wanted) {
  if (wanted != Acceleration::kAuto) return wanted;
  return KvmOpens() && ProcessorVirtualizes() ? Acceleration::kKvm : Acceleration::kTcg;
}

std::string_view AccelerationName(Acceleration acceleration) {
  switch (acceleration) {
    case Acceleration::kAuto:
      return "auto";
    case Acceleration::kKvm:
      return "kvm";
    case Acceleration::kTcg:
      return "tcg";
  }
  std::unreachable();
}

}  // namespace kata::hypervisor
