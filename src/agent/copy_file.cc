#include "agent/copy_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "base/file.h"
#include "linux/rooted_path.h"

namespace kata::agent {
namespace {

using linux::ParentDirectory;

// Mode and owner go on the file by descriptor or without following links.
Status SetOwner(const ParentDirectory& parent, const std::string& name,
                const grpc::CopyFileRequest& request) {
  const auto uid = static_cast<uid_t>(request.uid());
  const auto gid = static_cast<gid_t>(request.gid());
  if (fchownat(parent.fd.get(), name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return SysError("set the owner of '{}'", request.path());
  }
  return {};
}

Status MakeDirectory(const ParentDirectory& parent, const grpc::CopyFileRequest& request) {
  if (mkdirat(parent.fd.get(), parent.name.c_str(), 0700) != 0 && errno != EEXIST) {
    return SysError("make directory '{}'", request.path());
  }
  const UniqueFd directory = TRY(OpenAt(parent.fd.get(), parent.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY(SetOwner(parent, parent.name, request));
  if (fchmod(directory.get(), request.file_mode() & 07777) != 0) {
    return SysError("set mode of '{}'", request.path());
  }
  return {};
}

Status MakeSymlink(const ParentDirectory& parent, const grpc::CopyFileRequest& request) {
  if (unlinkat(parent.fd.get(), parent.name.c_str(), 0) != 0 && errno != ENOENT) {
    return SysError("replace '{}'", request.path());
  }
  if (symlinkat(request.data().c_str(), parent.fd.get(), parent.name.c_str()) != 0) {
    return SysError("make symbolic link '{}'", request.path());
  }
  return SetOwner(parent, parent.name, request);
}

Status WriteAt(int fd, std::string_view data, off_t offset) {
  while (!data.empty()) {
    const ssize_t written = pwrite(fd, data.data(), data.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SysError("write");
    data.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return {};
}

Status WritePart(const ParentDirectory& parent, const grpc::CopyFileRequest& request) {
  const std::string partial = parent.name + ".tmp";
  if (request.offset() == 0) unlinkat(parent.fd.get(), partial.c_str(), 0);
  // Where a container may have put a FIFO, opening it for writing would wait for a reader.
  const UniqueFd file =
      TRY(OpenAt(parent.fd.get(), partial, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat info{};
  if (fstat(file.get(), &info) != 0) return SysError("stat '{}'", request.path());
  if (!S_ISREG(info.st_mode)) {
    return MakeError(Code::kFailedPrecondition, "'{}' is no regular file", request.path());
  }
  TRY_CTX(WriteAt(file.get(), request.data(), request.offset()), "'{}'", request.path());
  if (fstat(file.get(), &info) != 0) return SysError("stat '{}'", request.path());
  if (info.st_size < request.file_size()) return {};
  if (info.st_size > request.file_size()) {
    return MakeError(Code::kInvalidArgument, "'{}' is longer than {} bytes", request.path(),
                     request.file_size());
  }
  TRY(SetOwner(parent, partial, request));
  if (fchmod(file.get(), request.file_mode() & 07777) != 0) {
    return SysError("set mode of '{}'", request.path());
  }
  if (renameat(parent.fd.get(), partial.c_str(), parent.fd.get(), parent.name.c_str()) != 0) {
    return SysError("rename '{}'", request.path());
  }
  return {};
}

Status CheckRequest(const grpc::CopyFileRequest& request) {
  if (request.offset() < 0 || request.file_size() < 0 || request.offset() > request.file_size()) {
    return MakeError(Code::kInvalidArgument, "offset {} of a file of {} bytes", request.offset(),
                     request.file_size());
  }
  if (request.data().size() > static_cast<uint64_t>(request.file_size() - request.offset()) &&
      S_ISREG(request.file_mode())) {
    return MakeError(Code::kInvalidArgument, "more data than the {} bytes of the file", request.file_size());
  }
  return {};
}

}  // namespace

Status CopyFile(const std::string& base_directory, const grpc::CopyFileRequest& request) {
  const std::string_view path = request.path();
  if (!path.starts_with(base_directory + "/") || path.size() <= base_directory.size() + 1) {
    return MakeError(Code::kInvalidArgument, "copy file '{}': not below '{}'", path, base_directory);
  }
  TRY_CTX(CheckRequest(request), "copy file '{}'", path);
  TRY(MakeDirectories(base_directory));
  const UniqueFd base = TRY(Open(base_directory, O_PATH | O_DIRECTORY));
  const std::string relative(path.substr(base_directory.size() + 1));
  const mode_t directory_mode = request.dir_mode() != 0 ? request.dir_mode() & 07777 : 0750;
  const ParentDirectory parent =
      TRY_CTX(linux::OpenParentInRoot(base.get(), relative, directory_mode), "copy file '{}'", path);
  if (S_ISDIR(request.file_mode())) return MakeDirectory(parent, request);
  if (S_ISLNK(request.file_mode())) return MakeSymlink(parent, request);
  if (S_ISREG(request.file_mode())) return WritePart(parent, request);
  return MakeError(Code::kInvalidArgument, "copy file '{}': unsupported file type {:o}", path,
                   request.file_mode() & S_IFMT);
}

}  // namespace kata::agent
