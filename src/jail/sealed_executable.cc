// The sealed copy (the answer to CVE-2019-5736).
#include "jail/sealed_executable.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <mutex>

#include "base/file.h"

// Newer than the C library's header; a kernel that does not know the flag says EINVAL.
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace kata::jail {
namespace {

constexpr char kSelf[] = "/proc/self/exe";
// Above every descriptor number that a child is given, so that the path below stays valid in it until execve.
constexpr int kLowestFd = 64;

Result<UniqueFd> CreateExecutableMemfd() {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(memfd_create("kata-agent", flags | MFD_EXEC));
  if (!fd && errno == EINVAL) fd.Reset(memfd_create("kata-agent", flags));
  if (!fd) return SysError("create memfd");
  return fd;
}

Result<UniqueFd> MakeSealedCopy() {
  const UniqueFd source = TRY(Open(kSelf, O_RDONLY));
  struct stat info{};
  if (fstat(source.get(), &info) < 0) return SysError("read size of '{}'", kSelf);
  UniqueFd copy = TRY(CreateExecutableMemfd());
  off_t offset = 0;
  while (offset < info.st_size) {
    const ssize_t n = sendfile(copy.get(), source.get(), &offset, static_cast<size_t>(info.st_size - offset));
    if (n < 0 && errno != EINTR) return SysError("copy '{}'", kSelf);
    if (n == 0) return MakeError(Code::kInternal, "copy '{}': file became shorter", kSelf);
  }
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    return SysError("seal copy of '{}'", kSelf);
  }
  // execve refuses a file that is open for writing (ETXTBSY), so only a read-only descriptor is kept.
  const UniqueFd read_only = TRY(Open(fmt::format("/proc/self/fd/{}", copy.get()), O_RDONLY));
  const int high = fcntl(read_only.get(), F_DUPFD_CLOEXEC, kLowestFd);
  if (high < 0) return SysError("duplicate file descriptor {}", read_only.get());
  return UniqueFd(high);
}

}  // namespace

Result<std::string> SealedExecutablePath(const std::string& executable) {
  if (executable != kSelf) return executable;
  static std::mutex mutex;
  static UniqueFd& copy = *new UniqueFd;  // lives as long as the process
  const std::lock_guard lock(mutex);
  struct statvfs info{};
  if (!copy && statvfs(kSelf, &info) == 0 && (info.f_flag & ST_RDONLY) != 0) return executable;
  if (!copy) copy = TRY_CTX(MakeSealedCopy(), "make sealed copy of the program");
  return fmt::format("/proc/self/fd/{}", copy.get());
}

}  // namespace kata::jail
