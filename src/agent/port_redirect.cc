#include "agent/port_redirect.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cstddef>

#include "base/file.h"
#include "linux/bpf.h"

namespace kata::agent {
namespace {

using linux::BpfInstruction;

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

constexpr uint8_t kContext = BPF_REG_6;  // kept by helper functions
constexpr uint8_t kScratch = BPF_REG_2;

struct Rewrite {
  uint32_t address;  // all in network order
  uint16_t from_port;
  uint16_t to_port;
  uint64_t namespace_cookie;
};

bpf_insn Load(size_t offset) {
  return BpfInstruction(BPF_LDX | BPF_MEM | BPF_W, kScratch, kContext, static_cast<int16_t>(offset), 0);
}
bpf_insn Move(uint8_t destination, uint8_t source) {
  return BpfInstruction(BPF_ALU64 | BPF_MOV | BPF_X, destination, source, 0, 0);
}
bpf_insn MoveImmediate(uint8_t destination, uint32_t value) {
  return BpfInstruction(BPF_ALU | BPF_MOV | BPF_K, destination, 0, 0, static_cast<int32_t>(value));
}
bpf_insn SkipUnlessEqual(uint32_t value, int16_t skip) {
  return BpfInstruction(BPF_JMP32 | BPF_JNE | BPF_K, kScratch, 0, skip, static_cast<int32_t>(value));
}

// The port of the address that the context speaks of becomes another if all else is as `rewrite` says.
// bpf_sock_addr holds address and port in network order.
std::vector<bpf_insn> Compile(const Rewrite& rewrite) {
  constexpr size_t kPort = offsetof(bpf_sock_addr, user_port);
  const auto cookie = [&](int shift) { return static_cast<int32_t>(rewrite.namespace_cookie >> shift); };
  return {
      Move(kContext, BPF_REG_1),
      Load(offsetof(bpf_sock_addr, user_ip4)),
      SkipUnlessEqual(rewrite.address, 9),
      Load(kPort),
      SkipUnlessEqual(rewrite.from_port, 7),
      Move(BPF_REG_1, kContext),
      BpfInstruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_netns_cookie),
      BpfInstruction(BPF_LD | BPF_DW, kScratch, 0, 0, cookie(0)),  // an immediate of two instructions
      BpfInstruction(0, 0, 0, 0, cookie(32)),
      BpfInstruction(BPF_JMP | BPF_JNE | BPF_X, BPF_REG_0, kScratch, 2, 0),
      MoveImmediate(kScratch, rewrite.to_port),
      BpfInstruction(BPF_STX | BPF_MEM | BPF_W, kContext, kScratch, static_cast<int16_t>(kPort), 0),
      MoveImmediate(BPF_REG_0, 1),  // go on
      BpfInstruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

Result<UniqueFd> Attach(const UniqueFd& cgroup, bpf_attach_type type, const Rewrite& rewrite) {
  const UniqueFd program = TRY(linux::LoadBpfProgram(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, type, Compile(rewrite)));
  return linux::LinkBpfProgram(cgroup.get(), program.get(), type);
}

}  // namespace

Result<PortRedirect> PortRedirect::Create(const std::string& cgroup_root, int socket,
                                          const sockaddr_in& address, uint16_t port) {
  Rewrite there{.address = address.sin_addr.s_addr,
                .from_port = address.sin_port,
                .to_port = htons(port),
                .namespace_cookie = 0};
  socklen_t size = sizeof there.namespace_cookie;
  if (getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &there.namespace_cookie, &size) < 0) {
    return SysError("ask for the cookie of the network namespace");
  }
  // What comes back bears the port that it was sent to.
  Rewrite back = there;
  std::swap(back.from_port, back.to_port);
  const UniqueFd cgroup = TRY(Open(cgroup_root, O_RDONLY | O_DIRECTORY));
  PortRedirect redirect;
  for (const bpf_attach_type type : {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_UDP4_SENDMSG}) {
    redirect.links_.push_back(TRY(Attach(cgroup, type, there)));
  }
  for (const bpf_attach_type type : {BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_INET4_GETPEERNAME}) {
    redirect.links_.push_back(TRY(Attach(cgroup, type, back)));
  }
  return redirect;
}

}  // namespace kata::agent
