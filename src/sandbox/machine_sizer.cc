#include "sandbox/machine_sizer.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/log.h"
#include "sandbox/machine_spec.h"

namespace kata::sandbox {

void MachineSizer::Set(const std::string& container_id, const oci::Resources& resources) {
  const std::lock_guard lock(mutex_);
  containers_[container_id] = resources;
}

void MachineSizer::Change(const std::string& container_id, const oci::Resources& resources) {
  const std::lock_guard lock(mutex_);
  if (const auto found = containers_.find(container_id); found != containers_.end()) {
    found->second = resources;
  }
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
  const std::lock_guard lock(mutex_);
  return WantedLocked();
}

MachineSize MachineSizer::WantedLocked() const {
  std::vector<oci::Resources> all;
  for (const auto& [container_id, resources] : containers_) all.push_back(resources);
  return SizeMachine(config_.hypervisor, all);
}

std::shared_ptr<void> MachineSizer::KeepFromShrinking() {
  const std::lock_guard lock(mutex_);
  return keeper_;
}

std::optional<MachineSize> MachineSizer::WantedToShrinkTo() const {
  const std::lock_guard lock(mutex_);
  if (keeper_.use_count() > 1) return std::nullopt;
  return WantedLocked();
}

void MachineSizer::SetHome(const std::string& container_id, cgroup::HostCgroup cgroup) {
  const std::lock_guard lock(mutex_);
  home_ = {container_id, std::move(cgroup)};
}

MachineSizer::Home MachineSizer::home() const {
  const std::lock_guard lock(mutex_);
  return home_;
}

Status MachineSizer::ApplyOnHost(const cgroup::HostCgroup& cgroup,
                                 const std::optional<oci::MemoryResources>& memory) const {
  oci::Resources resources;
  resources.memory = memory;
  const cgroup::Limits limits = cgroup::PlanLimits(cgroup.unified(), resources, overhead());
  TRY_CTX(cgroup.Apply(limits.at_creation), "control group on the host");
  return {};
}

Status MachineSizer::LimitOnHost(const cgroup::HostCgroup& cgroup,
                                 const std::optional<oci::MemoryResources>& memory) {
  const std::lock_guard lock(host_memory_mutex_);
  return ApplyOnHost(cgroup, memory);
}

void MachineSizer::LowerOnHost(const std::string& container_id, const cgroup::HostCgroup& cgroup) {
  // By what is wanted then, as the next change may be under way.
  const std::lock_guard lock(host_memory_mutex_);
  const Status lowered = ApplyOnHost(cgroup, limits(container_id).memory);
  if (!lowered) {
    log::Debug("the host's limit of memory stays",
               {{"container", container_id}, {"error", lowered.error().message()}});
  }
}

Status MachineSizer::Grow() {
  // First the host's limit, which must hold the larger machine.
  const Home home = this->home();
  TRY(LimitOnHost(home.cgroup, limits(home.container_id).memory));
  return guest_->Grow(wanted());
}

void MachineSizer::Shrink() {
  ShrinkMachine();
  const Home home = this->home();
  LowerOnHost(home.container_id, home.cgroup);
}

void MachineSizer::ShrinkMachine() {
  // Then the guest's driver waits for a minute before it tries again (drivers/virtio/virtio_mem.c).
  constexpr int kMaxIdleRounds = 5;
  constexpr std::chrono::milliseconds kPause{10};
  MachineSize last;
  for (int idle = 0; idle < kMaxIdleRounds;) {
    const std::optional<MachineSize> target = WantedToShrinkTo();
    if (!target) return;
    const std::optional<MachineSize> size = guest_->Shrink(*target);
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
