// Machine: what the sandbox needs of a virtual machine and of the helpers that live and die with it. One
// implementation runs a real VMM (virtual_machine.h); tests have one with the agent in their own process.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "config/config.h"
#include "hypervisor/vm_spec.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"
#include "sandbox/machine_size.h"

namespace kata::sandbox {

struct MachineOptions {
  std::string sandbox_id;
  std::string directory;                   // the sandbox's state directory
  const config::Config* config = nullptr;  // outlives the machine
  MachineSize size;
  uint32_t disks = 0;             // that will be attached beside what is plugged in anyway
  int host_mount_namespace = -1;  // in which sources of mounts are looked up, borrowed; -1: this process's
  UniqueFd network_namespace;     // that the VMM runs in; not valid: the server's own
  std::vector<hypervisor::NetworkDevice> network_devices;  // descriptors borrowed until Start returns
  std::vector<UniqueFd> cgroup_procs;  // cgroup.procs of the control groups of the VMM and its helpers
  // Called once on the loop thread when the machine is gone without Stop() having been asked for, with the
  // cause.
  std::function<void(std::string reason)> on_exit;
};

// What a container needs of the host's files.
struct HostFiles {
  std::string rootfs;          // absolute path
  const oci::Spec& spec;       // its mounts
  std::string bundle;          // where relative sources of mounts begin
  bool shared_memory = false;  // /dev/shm is that of all containers of the sandbox that share it
};

// How it finds them in the guest.
struct GuestFiles {
  std::string rootfs;
  std::vector<oci::Mount> mounts;
  std::vector<grpc::Storage> storages;  // to be mounted before the container is created
};

// Thread safe. Calls that wait are for worker threads that live as long as the machine (PR_SET_PDEATHSIG
// follows the thread).
class Machine {
 public:
  virtual ~Machine() = default;

  // Starts everything. What has been started when a later step fails is ended again by Stop or the
  // destructor.
  virtual Status Start(Deadline deadline) = 0;
  // The stream to the agent, once. Its end comes with the end of the machine.
  virtual Result<UniqueFd> ConnectAgent(Deadline deadline) = 0;
  // The storages that CreateSandbox mounts in the guest.
  virtual std::vector<grpc::Storage> SandboxStorages() const = 0;

  virtual Result<GuestFiles> ShareContainer(const std::string& container_id, const HostFiles& files) = 0;
  // Undoes ShareContainer, also a half done one.
  virtual Status UnshareContainer(const std::string& container_id) = 0;

  // Adds a device to the running machine; returns the guest's PCI path of it. Its descriptors are borrowed
  // for the call.
  virtual Result<std::string> AttachDevice(const hypervisor::DeviceSpec& device, Deadline deadline) = 0;
  // Waits until the guest has let go of it.
  virtual Status DetachDevice(const std::string& device_id, Deadline deadline) = 0;

  // After the last Resize. A guest that was slow to give memory back may have less by now.
  virtual MachineSize size() const = 0;
  // Plugs processors and memory into the running machine, or out of it again, and returns the size that it
  // has then: it is never more than it was made for nor less than it was started with. A guest that keeps
  // what it uses, or does not take what it is given, is no failure here. Does nothing when it has that size,
  // and had reached it. One call at a time.
  virtual Result<MachineSize> Resize(MachineSize size, Deadline deadline) = 0;

  virtual pid_t vmm_pid() const = 0;
  virtual bool running() const = 0;
  // What can be said about why somebody waits for the guest in vain; one bounded line, perhaps empty.
  virtual std::string LastWords() const = 0;
  // Ends everything and gives back what it took from the host. Idempotent. Ends Start and ConnectAgent on
  // other threads early.
  virtual Status Stop(Deadline deadline) = 0;
};

using MachineFactory =
    std::function<Result<std::unique_ptr<Machine>>(EventLoop& loop, MachineOptions options)>;

}  // namespace kata::sandbox
