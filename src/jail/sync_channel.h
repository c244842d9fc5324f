// The conversation between the agent and the process that sets a container up, over a SOCK_SEQPACKET pair.
//
//   process -> agent  kPid      the final process was cloned (with its pidfd); sent by the intermediate one
//   agent -> process  kProceed  the agent knows the final process, and its user namespace has id maps
//   process -> agent  kTerminal the master of the terminal that the process opened; only with a terminal
//   process -> agent  kReady    all is set up, the program found; waiting at the gate
//   agent -> process  kStart    the gate opens
//   process -> agent  kError    a step failed; the process ends
//
// execve closes the process's end: end of file without kError means that the program runs.
#pragma once

#include <string>
#include <string_view>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::jail {

class SyncChannel {
 public:
  enum class Type : char {
    kEndOfFile = 0,
    kPid = 'P',
    kProceed = 'C',
    kTerminal = 'T',
    kReady = 'R',
    kStart = 'S',
    kError = 'E',
  };
  struct Message {
    Type type = Type::kEndOfFile;
    std::string text;
    UniqueFd fd;
  };

  SyncChannel() = default;
  explicit SyncChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  Status Send(Type type, std::string_view text = {}, int fd = -1);
  Status SendError(const Error& error);
  // kEndOfFile when the other end is closed.
  Result<Message> Receive(Deadline deadline);
  // Fails unless the next message is `type`; a kError message becomes the error that was sent.
  Result<Message> Expect(Type type, Deadline deadline);

  // The error that a kError message carries.
  static Error DecodeError(std::string_view text);

  int fd() const { return socket_.get(); }
  bool valid() const { return socket_.valid(); }
  void Close() { socket_.Reset(); }

 private:
  UniqueFd socket_;
};

}  // namespace kata::jail
