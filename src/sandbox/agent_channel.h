// AgentChannel: how the stream to the agent in the guest comes about.
//
//   vsock    where the host offers /dev/vhost-vsock: the agent calls a port of the host, and is served its
//            requests on this connection. It listens nowhere: every process of the host, whoever's it is,
//            could connect to a port of the guest
//   serial   elsewhere: a virtio-serial port whose other end is a socket of ours from the start; the VMM
//            holds our first bytes until the agent opens the port
//
// Neither polls. A second serial port carries the agent's log.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hypervisor/driver.h"
#include "hypervisor/vm_spec.h"

namespace kata::sandbox {

class AgentChannel {
 public:
  // The best that `capabilities` and the host offer; kUnimplemented when there is none.
  static Result<std::unique_ptr<AgentChannel>> Create(const hypervisor::Capabilities& capabilities);
  virtual ~AgentChannel() = default;

  // For the VmSpec; the descriptors in them stay owned by the channel.
  virtual std::vector<hypervisor::DeviceSpec> Devices() const = 0;
  virtual std::vector<std::string> KernelParameters() const = 0;
  // Call it when the VMM runs: our copies of its ends are closed, so that its death ends the streams.
  virtual void OnVmmStarted() = 0;
  // The stream to the agent, once. Waits for the agent where the transport needs it, until Cancel or the
  // deadline.
  virtual Result<UniqueFd> Connect(Deadline deadline) = 0;
  // Ends a Connect under way or to come. Thread safe.
  virtual void Cancel() = 0;
  // The agent's log stream, once; not valid when the channel has none.
  virtual UniqueFd TakeLog() = 0;
};

}  // namespace kata::sandbox
