#include "base/unique_fd.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace kata {

Result<UniqueFd> UniqueFd::Duplicate() const {
  return DuplicateFd(fd_);
}

Result<UniqueFd> DuplicateFd(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return SysError("duplicate file descriptor {}", fd);
  return UniqueFd(copy);
}

Result<PipeEnds> MakePipe(int flags) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | flags) < 0) return SysError("create pipe");
  return PipeEnds{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<SocketPairEnds> MakeSocketPair(int type) {
  int fds[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) return SysError("create socket pair");
  return SocketPairEnds{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Status SetNonBlocking(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return SysError("read flags of file descriptor {}", fd);
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
    return SysError("set flags of file descriptor {}", fd);
  return {};
}

Status SetCloseOnExec(int fd, bool on) {
  if (fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0)
    return SysError("set close-on-exec of file descriptor {}", fd);
  return {};
}

}  // namespace kata
