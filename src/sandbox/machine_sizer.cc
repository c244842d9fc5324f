#include "sandbox/machine_sizer.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "sandbox/machine_spec.h"

namespace kata::sandbox {

void MachineSizer::Set(const std::string& container_id, const oci::Resources& resources) {
  const std::lock_guard lock(mutex_);
  containers_[container_id] = resources;
}

void MachineSizer::Forget(const std::string& container_id) {
  const std::lock_guard lock(mutex_);
  containers_.erase(container_id);
}

oci::Resources MachineSizer::limits(const std::string& container_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = containers_.find(container_id);
  return found == containers_.end() ? oci::Resources() : found->second;
}

MachineSize MachineSizer::wanted() const {
  std::vector<oci::Resources> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [container_id, resources] : containers_) all.push_back(resources);
  }
  return SizeMachine(config_.hypervisor, all);
}

void MachineSizer::Shrink() {
  // Then the guest's driver waits for a minute before it tries again (drivers/virtio/virtio_mem.c).
  constexpr int kMaxIdleRounds = 5;
  constexpr std::chrono::milliseconds kPause{10};
  MachineSize last;
  for (int idle = 0; idle < kMaxIdleRounds;) {
    const std::optional<MachineSize> size = guest_->Shrink(wanted());
    if (!size) return;
    idle = *size == last ? idle + 1 : 0;
    last = *size;
    std::this_thread::sleep_for(kPause);
  }
}

cgroup::Overhead MachineSizer::overhead() const {
  MachineSize size = wanted();
  if (const std::shared_ptr<Machine> machine = guest_->machine()) {
    size.memory_mib = std::max(size.memory_mib, machine->size().memory_mib);
  }
  return MachineOverhead(config_, size);
}

}  // namespace kata::sandbox
