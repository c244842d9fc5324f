// A netlink socket: requests to the kernel and their answers.
#pragma once

#include <cstdint>
#include <functional>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "linux/netlink/message.h"

namespace kata::linux::netlink {

// One request at a time. Not thread safe. It belongs to the network namespace of the thread that opened it
// for as long as it lives.
class Socket {
 public:
  // `protocol`: NETLINK_ROUTE ...
  static Result<Socket> Open(int protocol);

  // Sends `request` (NLM_F_REQUEST and NLM_F_ACK are added by the caller's builder) and waits for its
  // acknowledgement. The kernel's refusal is the error.
  Status Request(const MessageBuilder& request, Deadline deadline);

  // Sends a request with NLM_F_DUMP and hands each answer to `handler`; an error of the handler ends the dump
  // and is returned. A dump during which the tables changed (NLM_F_DUMP_INTR) is kUnavailable: ask again.
  using Handler = std::function<Status(const Message&)>;
  Status Dump(const MessageBuilder& request, const Handler& handler, Deadline deadline);

 private:
  explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<uint32_t> Send(const MessageBuilder& request);
  // The next datagram; what is not from the kernel is dropped.
  Result<std::string> Receive(Deadline deadline);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace kata::linux::netlink
