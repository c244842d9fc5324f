// AF_VSOCK and vhost-vsock.
#include "linux/vsock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <linux/vm_sockets.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/file.h"

namespace kata::linux {
namespace {

// 0 to 2 are the hypervisor, the local machine and the host; 0xffffffff is "any".
constexpr uint32_t kFirstGuestCid = 3;
// Chosen below 2^31: some VMMs keep the number in a signed integer.
constexpr uint32_t kCidRange = 0x7fffffff - kFirstGuestCid;
constexpr int kMaxClaimAttempts = 1000;
// VHOST_VSOCK_SET_GUEST_CID; <linux/vhost.h> itself is not valid C++.
constexpr unsigned long kSetGuestCid = _IOW(0xAF, 0x60, uint64_t);

sockaddr_vm MakeAddress(uint32_t cid, uint32_t port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

// Left to itself the kernel gives up after two seconds (VSOCK_DEFAULT_CONNECT_TIMEOUT), which a guest on a
// busy machine may need.
Status SetConnectTimeout(int fd, Deadline deadline) {
  constexpr std::chrono::seconds kLongest = std::chrono::hours(24);
  timeval timeout{};
  timeout.tv_sec = std::min(std::chrono::ceil<std::chrono::seconds>(deadline.Remaining()), kLongest).count();
  if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof(timeout)) < 0)
    return SysError("set the time-out of a vsock connection");
  return {};
}

}  // namespace

Result<UniqueFd> ListenVsock(uint32_t port, int backlog) {
  UniqueFd fd(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return SysError("create vsock socket");
  const sockaddr_vm address = MakeAddress(VMADDR_CID_ANY, port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return SysError("bind vsock port {}", port);
  }
  if (listen(fd.get(), backlog) < 0) return SysError("listen on vsock port {}", port);
  return fd;
}

Result<UniqueFd> ConnectVsock(uint32_t cid, uint32_t port, Deadline deadline) {
  UniqueFd fd(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SysError("create vsock socket");
  TRY(SetConnectTimeout(fd.get(), deadline));
  const sockaddr_vm address = MakeAddress(cid, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    if (errno != EINPROGRESS && errno != EINTR) return SysError("connect to vsock {}:{}", cid, port);
    TRY_CTX(WaitFd(fd.get(), POLLOUT, deadline, "connection"), "connect to vsock {}:{}", cid, port);
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
      return SysError("connect to vsock {}:{}", cid, port);
    if (error != 0) return ErrnoError(error, fmt::format("connect to vsock {}:{}", cid, port));
  }
  TRY(SetNonBlocking(fd.get(), false));
  return fd;
}

bool HostVsockAvailable(const std::string& device) {
  return Open(device, O_RDWR).has_value();
}

Result<VsockCidClaim> ClaimVsockCid(const std::string& device) {
  VsockCidClaim claim;
  claim.vhost_fd = TRY_CTX(Open(device, O_RDWR), "claim vsock CID");
  for (int i = 0; i < kMaxClaimAttempts; ++i) {
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
      return SysError("claim vsock CID: get random number");
    claim.cid = kFirstGuestCid + random % kCidRange;
    const uint64_t argument = claim.cid;
    if (ioctl(claim.vhost_fd.get(), kSetGuestCid, &argument) == 0) return claim;
    if (errno != EADDRINUSE) return SysError("claim vsock CID {}", claim.cid);
  }
  return MakeError(Code::kResourceExhausted, "claim vsock CID: none free after {} attempts",
                   kMaxClaimAttempts);
}

}  // namespace kata::linux
