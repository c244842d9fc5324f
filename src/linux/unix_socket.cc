// AF_UNIX sockets (unix(7)).
#include "linux/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "linux/mounts.h"

namespace kata::linux {
namespace {

Result<sockaddr_un> MakeAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return MakeError(Code::kInvalidArgument, "socket path is empty");
  if (path.size() >= sizeof(address.sun_path))
    return ErrnoError(ENAMETOOLONG, fmt::format("socket path '{}'", path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool FitsAddress(const std::string& path) {
  return path.size() < sizeof(sockaddr_un::sun_path);
}

Result<UniqueFd> MakeSocket(int type) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd) return SysError("create unix socket");
  return fd;
}

// bind(2) creates the file with the mode of the socket's inode, so nobody can connect before a later chmod.
Result<UniqueFd> MakeNamedSocket(const std::string& path, int type, mode_t mode) {
  UniqueFd fd = TRY(MakeSocket(type));
  if (fchmod(fd.get(), mode) < 0) return SysError("set mode of socket '{}'", path);
  UniqueFd directory;
  std::string short_path = path;
  if (!FitsAddress(path)) {
    const size_t slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
    directory = TRY(Open(parent, O_PATH | O_DIRECTORY));
    short_path = fmt::format("{}/{}", FdPath(directory.get()),
                             path.substr(slash == std::string::npos ? 0 : slash + 1));
  }
  const sockaddr_un address = TRY(MakeAddress(short_path));
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return SysError("bind socket '{}'", path);
  }
  return fd;
}

}  // namespace

Result<UniqueFd> ListenUnix(const std::string& path, int type, mode_t mode, int backlog) {
  UniqueFd fd = TRY(MakeNamedSocket(path, type, mode));
  if (listen(fd.get(), backlog) < 0) return SysError("listen on socket '{}'", path);
  return fd;
}

Result<UniqueFd> BindUnix(const std::string& path, int type, mode_t mode) {
  UniqueFd fd = TRY(MakeNamedSocket(path, type, mode));
  if (chmod(path.c_str(), mode) < 0) return SysError("set mode of socket '{}'", path);
  return fd;
}

Result<UniqueFd> ConnectUnix(const std::string& path, int type, Deadline deadline) {
  UniqueFd fd = TRY(MakeSocket(type | SOCK_NONBLOCK));
  UniqueFd target;
  std::string short_path = path;
  if (!FitsAddress(path)) {
    target = TRY_CTX(Open(path, O_PATH), "connect to socket '{}'", path);
    short_path = FdPath(target.get());
  }
  const sockaddr_un address = TRY(MakeAddress(short_path));
  while (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    if (errno == EINTR) continue;
    // A full backlog cannot be polled for on AF_UNIX: connect(2) says EAGAIN at once.
    if (errno != EAGAIN) return SysError("connect to socket '{}'", path);
    if (deadline.Passed()) {
      return MakeError(Code::kDeadlineExceeded, "connect to socket '{}': no connection accepted in time",
                       path);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  TRY(SetNonBlocking(fd.get(), (type & SOCK_NONBLOCK) != 0));
  return fd;
}

Result<UniqueFd> ConnectUnixAbstract(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The first byte is 0, and none follows the name.
  if (name.size() >= sizeof(address.sun_path))
    return ErrnoError(ENAMETOOLONG, fmt::format("socket '@{}'", name));
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  UniqueFd fd = TRY(MakeSocket(SOCK_DGRAM));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return SysError("connect to socket '@{}'", name);
  }
  return fd;
}

Result<UniqueFd> AcceptConnection(int listen_fd, Deadline deadline) {
  for (;;) {
    TRY(WaitFd(listen_fd, POLLIN, deadline, "connection"));
    UniqueFd fd(accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) return fd;
    // The peer may have gone between poll and accept (accept(2)).
    if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) return SysError("accept connection");
  }
}

Status SendUnixMessage(int socket_fd, std::string_view data, const std::vector<int>& fds, Deadline deadline) {
  if (data.empty()) return MakeError(Code::kInvalidArgument, "send message: no data");
  if (fds.size() > kMaxMessageFds)
    return MakeError(Code::kInvalidArgument, "send message: {} descriptors", fds.size());
  iovec io{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  std::vector<char> control(fds.empty() ? 0 : CMSG_SPACE(fds.size() * sizeof(int)));
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == static_cast<ssize_t>(data.size())) return {};
    if (sent >= 0) return MakeError(Code::kInternal, "send message: sent {} of {} bytes", sent, data.size());
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return SysError("send message");
    TRY_CTX(WaitFd(socket_fd, POLLOUT, deadline, "room in the socket"), "send message");
  }
}

Result<UnixMessage> ReceiveUnixMessage(int socket_fd, size_t max_bytes, size_t max_fds, Deadline deadline) {
  max_fds = std::min(max_fds, kMaxMessageFds);
  UnixMessage result;
  result.data.resize(max_bytes);
  iovec io{result.data.data(), result.data.size()};
  // Room for one message of credentials beside the descriptors: a peer cannot make us drop descriptors
  // unseen.
  std::vector<char> control(CMSG_SPACE(std::max<size_t>(max_fds, 1) * sizeof(int)) +
                            CMSG_SPACE(sizeof(ucred)));
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  ssize_t received = -1;
  for (;;) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    received = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received >= 0) break;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return SysError("receive message");
    TRY_CTX(WaitFd(socket_fd, POLLIN, deadline, "message"), "receive message");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      result.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return MakeError(Code::kResourceExhausted, "receive message: longer than {} bytes", max_bytes);
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0 || result.fds.size() > max_fds) {
    return MakeError(Code::kResourceExhausted, "receive message: more than {} descriptors", max_fds);
  }
  result.data.resize(static_cast<size_t>(received));
  return result;
}

Result<ucred> PeerCredentials(int socket_fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
    return SysError("read peer credentials");
  return credentials;
}

}  // namespace kata::linux
