#include "cli/pid_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "linux/unix_socket.h"

namespace kata::cli {

Status CheckPidFile(const std::string& path) {
  if (path.empty()) return {};
  const std::string directory = path.substr(0, path.find_last_of('/') + 1);
  struct stat info{};
  if (stat(directory.c_str(), &info) < 0 || access(directory.c_str(), W_OK) < 0) {
    return SysError("write pid file '{}'", path);
  }
  // rename(2) would refuse it, but only at the end.
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    return ErrnoError(EISDIR, fmt::format("write pid file '{}'", path));
  return {};
}

Status WritePidFile(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  TRY_CTX(WriteFileAtomic(path, fmt::format("{}", pid)), "write pid file '{}'", path);
  return {};
}

Status SendPidfd(const std::string& socket_path, int pidfd) {
  if (socket_path.empty()) return {};
  constexpr std::chrono::seconds kTimeout{10};
  const Deadline deadline = Deadline::After(kTimeout);
  const UniqueFd socket = TRY_CTX(linux::ConnectUnix(socket_path, SOCK_STREAM, deadline), "send pidfd");
  // Receivers expect a name with the descriptor.
  TRY_CTX(linux::SendUnixMessage(socket.get(), "pidfd", {pidfd}, deadline), "send pidfd to '{}'",
          socket_path);
  return {};
}

}  // namespace kata::cli
