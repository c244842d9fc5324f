#include "sandbox/time_limits.h"

#include "oci/hook_time_limit.h"
#include "sandbox/boot_slot.h"

namespace kata::sandbox {

std::chrono::seconds CreateLimit(const config::Config& config, const oci::Hooks& hooks) {
  const std::chrono::seconds hook_time = oci::TimeLimit(hooks.prestart) +
                                         oci::TimeLimit(hooks.create_runtime) +
                                         oci::TimeLimit(hooks.create_container);
  // For a further container of a pod the machine grows instead, which takes less.
  const std::chrono::seconds boot_time = kBootSlotTime + config.agent.dial_timeout + kGuestSetUpTime;
  const std::chrono::seconds undo_time = kPlugTime + kDestroySandboxTime + kMachineStopTime;
  return hook_time + boot_time + kPlugTime + kListenTime + config.runtime.create_container_timeout +
         undo_time + kCallSlack;
}

}  // namespace kata::sandbox
