// MachineSizer: keeps the virtual machine as large as the containers in it need it together, and the host's
// limits of memory at what it takes.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "cgroup/host_cgroup.h"
#include "cgroup/limits.h"
#include "config/config.h"
#include "oci/spec.h"
#include "sandbox/guest.h"
#include "sandbox/machine_size.h"

namespace kata::sandbox {

// Thread safe.
class MachineSizer {
 public:
  MachineSizer(config::Config config, std::shared_ptr<Guest> guest)
      : config_(std::move(config)), guest_(std::move(guest)) {}

  // What `container_id` may use, in place of what it might before; empty resources are no limits. The machine
  // is left as it is.
  void Set(const std::string& container_id, const oci::Resources& resources);
  // Likewise, but nothing for one that is not known (any more).
  void Change(const std::string& container_id, const oci::Resources& resources);
  void Forget(const std::string& container_id);
  // As set; none for a container that is not known.
  oci::Resources limits(const std::string& container_id) const;
  // How large the machine should be.
  MachineSize wanted() const;
  // Until the last copy has gone the machine does not shrink: what is set does not hold in the guest yet.
  std::shared_ptr<void> KeepFromShrinking();
  // What a machine takes of the host that is as large as it is, or as it should be where that is more.
  cgroup::Overhead overhead() const;

  // VMM and helpers are in the control groups of this container, whichever the machine grows for.
  void SetHome(const std::string& container_id, cgroup::HostCgroup cgroup);

  // --- Blocking; for worker threads. ---
  // Limits `memory` in control groups on the host, but not below what the machine takes. To lower a limit may
  // take the kernel a while.
  Status LimitOnHost(const cgroup::HostCgroup& cgroup, const std::optional<oci::MemoryResources>& memory);
  // Limits it again after the machine has shrunk, to what `container_id` may use then.
  void LowerOnHost(const std::string& container_id, const cgroup::HostCgroup& cgroup);
  // Plugs in what the running machine lacks. It never becomes larger than it was made for; then that is
  // logged, and no failure.
  Status Grow();
  // Takes back what is too much, for as long as the guest goes on to let go of it; never below the size at
  // the start. Grow is let in between.
  void Shrink();

 private:
  struct Home {
    std::string container_id;
    cgroup::HostCgroup cgroup;
  };
  Home home() const;
  void ShrinkMachine();
  // nullopt: not now. The end of what keeps it is followed by another Shrink.
  std::optional<MachineSize> WantedToShrinkTo() const;
  // REQUIRES: mutex_ is held.
  MachineSize WantedLocked() const;
  // REQUIRES: host_memory_mutex_ is held.
  Status ApplyOnHost(const cgroup::HostCgroup& cgroup,
                     const std::optional<oci::MemoryResources>& memory) const;

  const config::Config config_;
  const std::shared_ptr<Guest> guest_;
  mutable std::mutex mutex_;
  std::map<std::string, oci::Resources> containers_;
  Home home_;
  const std::shared_ptr<void> keeper_ = std::make_shared<int>();  // copies are given out under mutex_
  std::mutex host_memory_mutex_;  // one change of the host's limits of memory at a time
};

}  // namespace kata::sandbox
