// AF_VSOCK sockets between host and guest (vsock(7)), and the claim of a guest's address on the host.
#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// Listens on `port` for every CID of this machine.
Result<UniqueFd> ListenVsock(uint32_t port, int backlog = 128);

// One attempt to connect, bounded by the deadline. The result is blocking.
Result<UniqueFd> ConnectVsock(uint32_t cid, uint32_t port, Deadline deadline);

// Whether the host can give vsock devices to guests: /dev/vhost-vsock can be opened.
bool HostVsockAvailable(const std::string& device = "/dev/vhost-vsock");

// A guest address that nobody else on this host has while `vhost_fd`, which the VMM inherits, is open.
struct VsockCidClaim {
  UniqueFd vhost_fd;
  uint32_t cid = 0;
};
// Tries random CIDs until the kernel accepts one.
Result<VsockCidClaim> ClaimVsockCid(const std::string& device = "/dev/vhost-vsock");

}  // namespace kata::linux
