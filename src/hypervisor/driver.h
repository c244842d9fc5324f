// The cut between the sandbox and a virtual machine monitor: plan (pure), then start under the supervisor,
// then control.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hypervisor/vm_spec.h"

namespace kata::hypervisor {

// The channels to the agent that the VMM can have.
struct Capabilities {
  bool serial_channel = false;  // agent over virtio-serial
  bool vhost_vsock = false;
};

// How to start the VMM: what to execute and what it inherits.
struct LaunchPlan {
  std::string program;
  std::vector<std::string> args;
  // Child's descriptor number -> descriptor of the VmSpec (borrowed). Numbers start at 3 and are fixed by the
  // plan, so that a plan is reproducible and can be compared with a golden file.
  std::map<int, int> inherited_fds;
  // Child's descriptor numbers that the supervisor fills: the control channel and the guest console.
  int control_fd = -1;
  int console_fd = -1;
};

// What a VMM tells unasked. Called on a thread of the VmControl's own, which must not be held up; they must
// not call the VmControl. A guest that has taken over its VMM can call them without end.
struct VmEvents {
  // One printable line: something went wrong that the guest goes on with.
  std::function<void(std::string line)> on_trouble;
  // The VMM has stopped the guest, and nobody will let it run again.
  std::function<void(std::string reason)> on_halted;
};

// What the live VM offers. Thread safe; every call has a deadline.
class VmControl {
 public:
  virtual ~VmControl() = default;
  virtual Status Pause(Deadline deadline) = 0;
  virtual Status Resume(Deadline deadline) = 0;
  // Returns where the guest finds the device: slots on the way to it, "0f/00"; empty if it is not on PCI.
  virtual Result<std::string> Attach(const DeviceSpec& device, Deadline deadline) = 0;
  virtual Status Detach(const std::string& device_id, Deadline deadline) = 0;
  // Plugs processors in, or out again, until there are `vcpus`. Never fewer than the VM was started with. The
  // guest has to bring new ones online. Returns how many there are then; with the deadline, too, where the
  // guest does not let go of some.
  virtual Result<uint32_t> SetVcpus(uint32_t vcpus, Deadline deadline) = 0;
  // Likewise of memory. Returns when the guest has as much as wanted, rounded up to what can be plugged, or
  // with the deadline: it may keep what it uses. Then, too, the result is what it has.
  virtual Result<uint64_t> SetMemory(uint64_t memory_mib, Deadline deadline) = 0;
  // Asks the VMM to end by itself, without the guest's help.
  virtual Status Quit(Deadline deadline) = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual std::string_view name() const = 0;
  virtual Capabilities capabilities() const = 0;
  // Pure: reads no file, needs no privilege. kInvalidArgument names the member of `spec` that cannot be had.
  virtual Result<LaunchPlan> Plan(const VmSpec& spec) const = 0;
  // Speaks to a VMM started from a plan of this driver over its control channel. What `events` refers to must
  // outlive the result.
  virtual Result<std::unique_ptr<VmControl>> Connect(UniqueFd control, VmEvents events,
                                                     Deadline deadline) const = 0;
};

// The driver for a [hypervisor.NAME] table: "qemu". kUnimplemented names what this build has.
Result<std::unique_ptr<Driver>> MakeDriver(const std::string& name);

// kAuto resolved: KVM where /dev/kvm opens with API version 12 *and* the processor shows vmx or svm (a
// machine may offer /dev/kvm without either and then run guests a hundred times slower than TCG), else TCG.
// On other architectures than x86 an opening /dev/kvm is enough.
Acceleration ResolveAcceleration(Acceleration wanted);
std::string_view AccelerationName(Acceleration acceleration);

}  // namespace kata::hypervisor
