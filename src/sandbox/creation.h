// The creation of a container: what of it blocks and therefore is a worker's.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cgroup/host_cgroup.h"
#include "config/config.h"
#include "linux/mounts.h"
#include "oci/spec.h"
#include "sandbox/boot_slot.h"
#include "sandbox/container_devices.h"
#include "sandbox/guest.h"
#include "sandbox/machine.h"
#include "sandbox/machine_sizer.h"
#include "sandbox/pod_namespaces.h"
#include "sandbox/readiness.h"
#include "sandbox/state_directory.h"
#include "sandbox/stdio_traits.h"

namespace kata::sandbox {

struct CreateResult {
  oci::Spec spec;
  GuestNamespaces namespaces;  // where they are not as in a sandbox of its own
  std::string rootfs;
  ProcessId vmm;
  std::vector<std::string> disks;  // of the machine, for the container alone
  Readiness readiness;
};

// What it needs to know; references and descriptors are the sandbox's or the container's, which outlive it.
struct CreateJob {
  const config::Config& config;
  std::shared_ptr<Guest> guest;
  std::shared_ptr<MachineSizer> sizer;
  std::string sandbox_id;
  std::string directory;
  std::string container_id;
  std::string bundle;
  bool terminal;
  bool notify;
  StdioTraits stdio;
  bool boot;  // the first container, whose creation starts the machine
  StateDirectory container_directory;
  ContainerState state;
  cgroup::HostCgroup cgroup;
  int hooks_cancel_fd;                 // readable: hooks and the wait for the turn to boot end
  int host_mount_namespace;            // -1: this process's own
  std::map<pid_t, std::string> shims;  // of init processes; the containers of the sandbox

  // Reads the bundle, runs the hooks of creation, boots the machine or makes it larger, and creates the
  // container in the guest. After a failure nothing of the container is left in the machine; its hooks, and
  // limits on the host, are the caller's to undo. Blocking, for as long as hooks, boot and agent may take.
  Result<CreateResult> Run() const;

 private:
  Status RunHooks(const oci::Spec& spec, const std::string& rootfs) const;
  Result<UniqueFd> OpenNetworkNamespace() const;  // the container's
  Result<oci::Spec> ReadSpec() const;
  Result<std::string> FindRootfs(const oci::Spec& spec) const;
  Result<linux::ScopedMount> ImportRootfs(const std::string& rootfs) const;
  Status CheckMounts(const oci::Spec& spec) const;
  Status Boot(const oci::Spec& spec, const DevicePlan& devices) const;
  Result<BootSlot> AwaitTurn() const;
  Status CreateInGuest(Machine& machine, CreateResult& container, const DevicePlan& devices) const;
  static bool SharesWithSandbox(const char* type, const CreateResult& container);
};

// Unplugs what creations have plugged in (CreateResult::disks). Blocking.
void DetachDisks(Machine& machine, const std::vector<std::string>& ids);

}  // namespace kata::sandbox
