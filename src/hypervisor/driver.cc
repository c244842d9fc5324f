// The drivers of this build, by name.
#include "hypervisor/driver.h"

#include "hypervisor/qemu/driver.h"

namespace kata::hypervisor {

Result<std::unique_ptr<Driver>> MakeDriver(const std::string& name) {
  if (name == "qemu") return std::unique_ptr<Driver>(std::make_unique<qemu::QemuDriver>());
  return MakeError(Code::kUnimplemented, "hypervisor '{}' is not built in (built in: qemu)", name);
}

}  // namespace kata::hypervisor
