// AgentChannel: over vsock and over virtio-serial.
#include "sandbox/agent_channel.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
// after <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <utility>

#include "linux/vsock.h"
#include "protocol/constants.h"

namespace kata::sandbox {
namespace {

using hypervisor::DeviceSpec;
using hypervisor::SerialPortDevice;
using hypervisor::VsockDevice;

// A virtio-serial port on a socket pair.
class SerialPort {
 public:
  static Result<SerialPort> Create(std::string id, std::string name) {
    SocketPairEnds ends = TRY(MakeSocketPair(SOCK_STREAM));
    return SerialPort(std::move(id), std::move(name), std::move(ends));
  }
  SerialPortDevice Device() const { return {.id = id_, .name = name_, .socket_fd = ends_.second.get()}; }
  void CloseVmmEnd() { ends_.second.Reset(); }
  UniqueFd TakeOurEnd() { return std::move(ends_.first); }

 private:
  SerialPort(std::string id, std::string name, SocketPairEnds ends)
      : id_(std::move(id)), name_(std::move(name)), ends_(std::move(ends)) {}
  std::string id_;
  std::string name_;
  SocketPairEnds ends_;
};

constexpr char kLogPortName[] = "agent.log.0";

class SerialChannel : public AgentChannel {
 public:
  SerialChannel(SerialPort channel, SerialPort log) : channel_(std::move(channel)), log_(std::move(log)) {}

  std::vector<DeviceSpec> Devices() const override { return {channel_.Device(), log_.Device()}; }
  std::vector<std::string> KernelParameters() const override {
    return {fmt::format("{}=serial://{}", protocol::kOptionServerAddress, protocol::kAgentSerialPort)};
  }
  void OnVmmStarted() override {
    channel_.CloseVmmEnd();
    log_.CloseVmmEnd();
  }
  Result<UniqueFd> Connect(Deadline) override {
    if (cancelled_) return Error(Code::kCancelled, "cancelled");
    return channel_.TakeOurEnd();
  }
  void Cancel() override { cancelled_ = true; }
  UniqueFd TakeLog() override { return log_.TakeOurEnd(); }

 private:
  SerialPort channel_;
  SerialPort log_;
  std::atomic<bool> cancelled_ = false;
};

class VsockChannel : public AgentChannel {
 public:
  VsockChannel(linux::VsockCidClaim claim, UniqueFd listener, uint32_t port, UniqueFd cancel_event,
               SerialPort log)
      : claim_(std::move(claim)),
        listener_(std::move(listener)),
        port_(port),
        cancel_event_(std::move(cancel_event)),
        log_(std::move(log)) {}

  std::vector<DeviceSpec> Devices() const override {
    return {VsockDevice{.id = "vsock0", .guest_cid = claim_.cid, .vhost_fd = claim_.vhost_fd.get()},
            log_.Device()};
  }
  std::vector<std::string> KernelParameters() const override {
    // Without the port a debug console, where one is asked for, would be on the guest's console.
    return {fmt::format("{}=vsock://{}:{}", protocol::kOptionServerAddress, VMADDR_CID_HOST, port_),
            fmt::format("{}={}", protocol::kOptionDebugConsolePort, protocol::kDebugConsolePort)};
  }
  void OnVmmStarted() override {
    claim_.vhost_fd.Reset();
    log_.CloseVmmEnd();
  }
  // Any guest and any process of this host can connect to the port; only ours counts.
  Result<UniqueFd> Connect(Deadline deadline) override {
    for (;;) {
      pollfd fds[2] = {{listener_.get(), POLLIN, 0}, {cancel_event_.get(), POLLIN, 0}};
      const int ready = poll(fds, 2, deadline.RemainingPollMs());
      if (ready < 0 && errno != EINTR) return SysError("wait for the agent's call");
      // Others may call without end.
      if (ready == 0 || deadline.Passed()) return Error(Code::kDeadlineExceeded, "the agent has not called");
      if (fds[1].revents != 0) return Error(Code::kCancelled, "cancelled");
      if (ready < 0 || fds[0].revents == 0) continue;
      sockaddr_vm peer{};
      socklen_t size = sizeof(peer);
      UniqueFd connection(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
      if (!connection || peer.svm_cid != claim_.cid) continue;
      listener_.Reset();
      return connection;
    }
  }
  void Cancel() override { eventfd_write(cancel_event_.get(), 1); }
  UniqueFd TakeLog() override { return log_.TakeOurEnd(); }

 private:
  linux::VsockCidClaim claim_;
  UniqueFd listener_;
  uint32_t port_;
  UniqueFd cancel_event_;
  SerialPort log_;
};

// A port of this host that nobody listens on yet.
Result<std::pair<UniqueFd, uint32_t>> ListenOnFreePort() {
  constexpr int kAttempts = 32;
  std::random_device random;
  std::uniform_int_distribution<uint32_t> ports(1u << 16, 1u << 30);
  for (int attempt = 1;; ++attempt) {
    const uint32_t port = ports(random);
    Result<UniqueFd> listener = linux::ListenVsock(port);
    if (listener) {
      // A connection may be gone again between poll(2) and accept(2).
      TRY(SetNonBlocking(listener->get(), true));
      return std::pair(std::move(*listener), port);
    }
    if (listener.error().sys_errno() != EADDRINUSE || attempt == kAttempts)
      return std::move(listener).error();
  }
}

}  // namespace

Result<std::unique_ptr<AgentChannel>> AgentChannel::Create(const hypervisor::Capabilities& capabilities) {
  if (!capabilities.serial_channel) {
    return Error(Code::kUnimplemented,
                 "the hypervisor offers no channel to the agent that this build can use");
  }
  SerialPort log = TRY(SerialPort::Create("log0", kLogPortName));
  if (capabilities.vhost_vsock && linux::HostVsockAvailable()) {
    linux::VsockCidClaim claim = TRY(linux::ClaimVsockCid());
    std::pair<UniqueFd, uint32_t> listener = TRY(ListenOnFreePort());
    UniqueFd cancel_event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!cancel_event) return SysError("create eventfd");
    return std::unique_ptr<AgentChannel>(
        std::make_unique<VsockChannel>(std::move(claim), std::move(listener.first), listener.second,
                                       std::move(cancel_event), std::move(log)));
  }
  SerialPort channel = TRY(SerialPort::Create("channel0", std::string(protocol::kAgentSerialPort)));
  return std::unique_ptr<AgentChannel>(std::make_unique<SerialChannel>(std::move(channel), std::move(log)));
}

}  // namespace kata::sandbox
