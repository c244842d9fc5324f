// AF_UNIX sockets: paths of any length, messages with descriptors, peer credentials.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

// The kernel's own limit for one message (SCM_MAX_FD).
inline constexpr size_t kMaxMessageFds = 253;

// A listening socket at `path`, which must not exist yet (EADDRINUSE), with the given file mode from the
// moment it appears. `path` may be longer than sun_path; only its last part must be below 80 bytes. `type`:
// SOCK_STREAM or SOCK_SEQPACKET, perhaps with SOCK_NONBLOCK. The socket's file is not removed when the
// descriptor is closed.
Result<UniqueFd> ListenUnix(const std::string& path, int type = SOCK_STREAM, mode_t mode = 0600,
                            int backlog = 128);

// A datagram socket with the name `path`, as ListenUnix but for the mode, which the umask does not change.
// `type`: SOCK_DGRAM, perhaps with SOCK_NONBLOCK.
Result<UniqueFd> BindUnix(const std::string& path, int type, mode_t mode);

// Connects to `path` of any length; waits while the listener's backlog is full. The result is blocking.
Result<UniqueFd> ConnectUnix(const std::string& path, int type, Deadline deadline);
// The same for a datagram socket with a name that is no path (unix(7), "abstract").
Result<UniqueFd> ConnectUnixAbstract(const std::string& name);

// The next connection, close-on-exec; kDeadlineExceeded when none comes.
Result<UniqueFd> AcceptConnection(int listen_fd, Deadline deadline);

struct UnixMessage {
  std::string data;
  std::vector<UniqueFd> fds;  // close-on-exec
};

// Sends `data` (at least one byte) with descriptors in one sendmsg(2). On a SOCK_SEQPACKET socket that is one
// message; on a stream socket `data` must be small enough for one write. Never raises SIGPIPE.
Status SendUnixMessage(int socket_fd, std::string_view data, const std::vector<int>& fds, Deadline deadline);

// One message (SOCK_SEQPACKET) or what one read gives (SOCK_STREAM). At the end of the stream both members
// are empty. kResourceExhausted for more than `max_bytes` or `max_fds`; the descriptors received are then
// closed.
Result<UnixMessage> ReceiveUnixMessage(int socket_fd, size_t max_bytes, size_t max_fds, Deadline deadline);

// Who is at the other end (SO_PEERCRED): as of connect(2) or socketpair(2).
Result<ucred> PeerCredentials(int socket_fd);

}  // namespace kata::linux
