// Control of a running QEMU over QMP: devices (control.cc), processors and memory (resize.cc).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "hypervisor/driver.h"
#include "hypervisor/qemu/devices.h"
#include "hypervisor/qemu/qmp.h"

namespace kata::hypervisor::qemu {

class QemuControl : public VmControl {
 public:
  // `socket` is the connected control channel of a QEMU started from a QemuDriver's plan.
  static Result<std::unique_ptr<VmControl>> Connect(UniqueFd socket, VmEvents events, Deadline deadline);

  Status Pause(Deadline deadline) override;
  Status Resume(Deadline deadline) override;
  // A PCI device takes a free root port; kResourceExhausted when VmSpec::hotplug_ports are all in use.
  // kUnimplemented for a 9p share: QEMU has no command that adds one. Nothing is left behind on failure.
  Result<std::string> Attach(const DeviceSpec& device, Deadline deadline) override;
  // Waits until the guest has let go of the device.
  Status Detach(const std::string& device_id, Deadline deadline) override;
  Status Quit(Deadline deadline) override;
  Result<uint32_t> SetVcpus(uint32_t vcpus, Deadline deadline) override;
  Result<uint64_t> SetMemory(uint64_t memory_mib, Deadline deadline) override;

 private:
  explicit QemuControl(VmEvents events) : events_(std::move(events)) {}
  Status Remove(const std::string& device_id, Deadline deadline);
  // `list`: the answer to query-hotpluggable-cpus.
  Status ChangeVcpus(const nlohmann::json& list, uint32_t vcpus, Deadline deadline);
  Result<uint64_t> ReadMemoryDevice(const char* property, Deadline deadline);
  void OnEvent(const QmpEvent& event);
  void OnDeviceDeleted(const QmpEvent& event);
  void OnStop();
  // The number of a port with nothing on it.
  Result<uint32_t> FindFreePort(Deadline deadline);
  Status AddBackend(const DeviceSpec& spec, const Device& device, const std::vector<std::string>& fd_names,
                    Deadline deadline);
  void RemoveBackend(const std::string& device_id, Deadline deadline);

  const VmEvents events_;

  // Attach and Detach are steps of several commands that must not mix, as both choose among ports and ids.
  std::mutex plug_mutex_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string removing_;         // id of the device whose end is awaited
  bool removed_ = false;         // and it has been told (DEVICE_DELETED)
  uint64_t memory_changes_ = 0;  // MEMORY_DEVICE_SIZE_CHANGE events so far
  bool stop_wanted_ = false;     // by Pause, until Resume
  bool closed_ = false;          // QEMU has gone

  std::unique_ptr<QmpClient> client_;  // last: its thread calls OnEvent until it is destroyed
};

}  // namespace kata::hypervisor::qemu
