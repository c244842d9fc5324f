// Reading and writing whole files, directories of state, and temporary directories.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata {

inline constexpr size_t kDefaultReadLimit = 16u << 20;

// open(2) with O_CLOEXEC added. `dirfd` may be AT_FDCWD.
Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> OpenAt(int dirfd, const std::string& path, int flags, mode_t mode = 0);

// The whole content; kResourceExhausted when it is longer than `limit` bytes.
Result<std::string> ReadFile(const std::string& path, size_t limit = kDefaultReadLimit);
Result<std::string> ReadFd(int fd, size_t limit = kDefaultReadLimit);
// The same from a pipe or socket whose other end may be silent; it has to have ended by the deadline
// (kDeadlineExceeded: "wait for <what>").
Result<std::string> ReadFd(int fd, size_t limit, Deadline deadline, std::string_view what);

// read(2) once, past EINTR: `data` becomes what is there, at most `max_bytes`. Returns its size, 0 at the
// end, or -1 with errno. Room that nothing is read into is not cleared, which for a stream of short pieces is
// most of the work.
ssize_t ReadAvailable(int fd, size_t max_bytes, std::string& data);

// Writes into an existing file (a /proc or /sys knob) with one write(2).
Status WriteKnob(const std::string& path, std::string_view data);
Status WriteKnobAt(int dirfd, const std::string& path, std::string_view data);

// Writes `<path>.tmp-<pid>`, then renames it over `path`: a reader sees the old content or the new, never a
// part.
Status WriteFileAtomic(const std::string& path, std::string_view data, mode_t mode = 0644);
Status WriteFileAtomicAt(int dirfd, const std::string& path, std::string_view data, mode_t mode = 0644);

// Writes all bytes to a blocking descriptor, retrying short writes and EINTR.
Status WriteAll(int fd, std::string_view data);

// mkdir -p.
Status MakeDirectories(const std::string& path, mode_t mode = 0755);
bool PathExists(const std::string& path);
// rm -rf that never follows a symbolic link nor enters a mount point, be it of the same file system; a
// missing path is success. Removes what it can and returns the first error.
Status RemoveTree(const std::string& path);
// Names in a directory without "." and "..", sorted.
Result<std::vector<std::string>> ListDirectory(const std::string& path);
// The same of one that is open, whatever has been read of it so far.
Result<std::vector<std::string>> ListDirectory(int directory_fd);

// Waits until one of `events` (POLLIN ...) is there or the deadline passes (kDeadlineExceeded: "wait for
// <what>").
Status WaitFd(int fd, short events, Deadline deadline, std::string_view what);

// A fresh directory that is removed with all its content on destruction.
class TempDir {
 public:
  // Under $TMPDIR or /tmp.
  static Result<TempDir> Create(const std::string& prefix = "kata-");
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace kata
