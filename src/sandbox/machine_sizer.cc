#include "sandbox/machine_sizer.h"

#include <algorithm>
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

MachineSize MachineSizer::wanted() const {
  std::vector<oci::Resources> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [container_id, resources] : containers_) all.push_back(resources);
  }
  return SizeMachine(config_.hypervisor, all);
}

cgroup::Overhead MachineSizer::overhead() const {
  MachineSize size = wanted();
  if (const std::shared_ptr<Machine> machine = guest_->machine()) {
    size.memory_mib = std::max(size.memory_mib, machine->size().memory_mib);
  }
  return MachineOverhead(config_, size);
}

}  // namespace kata::sandbox
