#include "linux/netlink/socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/file.h"

namespace kata::linux::netlink {
namespace {

// The kernel fills dumps into datagrams of at most 32 KiB (netlink_dump); one message alone is smaller.
constexpr size_t kMaxDatagramBytes = 64u << 10;
// Attributes of socket options; libc's headers do not have them everywhere.
constexpr int kSolNetlink = 270;

}  // namespace

Result<Socket> Socket::Open(int protocol) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd.valid()) return SysError("open a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SysError("bind a netlink socket");
  }
  // The kernel's words with a refusal, and not the whole request back. Both only make better messages, so a
  // kernel without them will do.
  const int on = 1;
  (void)setsockopt(fd.get(), kSolNetlink, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(fd.get(), kSolNetlink, NETLINK_CAP_ACK, &on, sizeof on);
  // Dumps filtered by the request's header, e.g. routes of one table (NETLINK_GET_STRICT_CHK), are not used.
  return Socket(std::move(fd));
}

Result<uint32_t> Socket::Send(const MessageBuilder& request) {
  const std::string bytes = request.Finish(++sequence_);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
                  sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return SysError("send a netlink request");
  return sequence_;
}

Result<std::string> Socket::Receive(Deadline deadline) {
  std::string buffer(kMaxDatagramBytes, '\0');
  while (true) {
    TRY(WaitFd(fd_.get(), POLLIN, deadline, "netlink answer"));
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t size = recvfrom(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC,
                                  reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) return SysError("receive a netlink answer");
    // Any process may send to our port; only port 0 is the kernel (netlink(7)).
    if (sender_size != sizeof sender || sender.nl_pid != 0) {
      if (deadline.Passed())
        return Error(Code::kDeadlineExceeded, "wait for netlink answer: deadline exceeded");
      continue;
    }
    if (static_cast<size_t>(size) > buffer.size()) {
      return MakeError(Code::kResourceExhausted, "netlink answer of {} bytes", size);
    }
    buffer.resize(static_cast<size_t>(size));
    return buffer;
  }
}

Status Socket::Request(const MessageBuilder& request, Deadline deadline) {
  const uint32_t sequence = TRY(Send(request));
  while (true) {
    const std::string datagram = TRY(Receive(deadline));
    for (const Message& message : TRY(ParseMessages(datagram))) {
      // What is left of a request that ran into its deadline.
      if (message.sequence != sequence) continue;
      if (message.type == NLMSG_ERROR) return ParseAcknowledgement(message);
    }
  }
}

Status Socket::Dump(const MessageBuilder& request, const Handler& handler, Deadline deadline) {
  const uint32_t sequence = TRY(Send(request));
  bool interrupted = false;
  Status result;
  while (true) {
    const std::string datagram = TRY(Receive(deadline));
    for (const Message& message : TRY(ParseMessages(datagram))) {
      if (message.sequence != sequence) continue;
      interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
      if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE) {
        TRY(ParseAcknowledgement(message));
        if (result && interrupted) return Error(Code::kUnavailable, "the tables changed while being read");
        return result;
      }
      // After a failure the dump is still read to its end, so that the next request finds an empty socket.
      if (result && message.type >= NLMSG_MIN_TYPE) result = handler(message);
    }
  }
}

}  // namespace kata::linux::netlink
