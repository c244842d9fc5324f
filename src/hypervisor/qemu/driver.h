// The QEMU driver: x86-64 q35 machines, controlled over QMP.
#pragma once

#include <memory>
#include <string_view>

#include "hypervisor/driver.h"

namespace kata::hypervisor::qemu {

class QemuDriver : public Driver {
 public:
  std::string_view name() const override { return "qemu"; }
  Capabilities capabilities() const override;
  // spec.acceleration must be resolved. The guest gets one virtio-serial bus: port 0 is the console (hvc0),
  // the SerialPortDevices follow in their order. An empty spec.firmware means qboot.rom, which QEMU finds in
  // its own data directory.
  Result<LaunchPlan> Plan(const VmSpec& spec) const override;
  Result<std::unique_ptr<VmControl>> Connect(UniqueFd control, VmEvents events,
                                             Deadline deadline) const override;
};

}  // namespace kata::hypervisor::qemu
