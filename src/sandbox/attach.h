// How a process started through the OCI command line gets its stdio: the client hands the descriptors and one
// end of a channel to the process's kata-shim over to the sandbox server (SCM_RIGHTS on attach.sock).
//
// client -> server  AttachRequest + descriptors [channel, stdin, stdout, stderr] (absent ones are not sent)
// server -> client  AttachReply
// then Task.Create or Task.Exec for the same id and exec_id uses them.
// client -> server  "commit" when the engine has been told (pid file written). A connection of an init
// process that
//                   ends without commit makes the server destroy the container: nobody will ever ask for it.
#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::sandbox {

struct AttachRequest {
  std::string id;
  std::string exec_id;  // empty: the container's init
  bool terminal = false;
  pid_t shim_pid = 0;
  UniqueFd channel;                         // SOCK_SEQPACKET to kata-shim, ShimMessage in both directions
  UniqueFd stdin_fd, stdout_fd, stderr_fd;  // with a terminal: stdin_fd and stdout_fd are the pty slave
};

// Client side. The connection is kept open by the caller until Commit.
class Attachment {
 public:
  // Sends, waits for the reply.
  static Result<Attachment> Attach(UniqueFd attach_socket, AttachRequest request, Deadline deadline);
  Status Commit();

 private:
  explicit Attachment(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace kata::sandbox
