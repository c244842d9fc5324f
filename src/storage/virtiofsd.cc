#include "storage/virtiofsd.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "linux/unix_socket.h"

namespace kata::storage {
namespace {

constexpr int kListenFd = 3;
constexpr size_t kMaxVersionBytes = 4096;
constexpr size_t kMaxStderrBytes = 64u << 10;
constexpr size_t kMaxReasonBytes = 400;
constexpr std::chrono::seconds kDestructorStopTime{2};
constexpr std::chrono::seconds kKillTime{10};

using Descriptor = asio::posix::stream_descriptor;

Status Watch(Descriptor& descriptor, UniqueFd fd) {
  asio::error_code error;
  descriptor.assign(fd.get(), error);
  if (error) return ErrnoError(error.value(), "watch file descriptor");
  (void)fd.Release();
  return {};
}

void Close(Descriptor& descriptor) {
  asio::error_code ignored;
  descriptor.close(ignored);
}

Status CheckDirectory(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return SysError("shared directory '{}'", path);
  if (!S_ISDIR(status.st_mode)) return ErrnoError(ENOTDIR, fmt::format("shared directory '{}'", path));
  return {};
}

// Asks the program; a few milliseconds, and never out of date when the program is replaced.
Result<VirtiofsdKind> DetectKind(const std::string& program, Deadline deadline) {
  PipeEnds output = TRY(MakePipe());
  Command command;
  command.program = program;
  command.args = {"--version"};
  command.stdout_fd = output.write.get();
  command.parent_death_signal = SIGKILL;
  ChildProcess process = TRY(Spawn(command));
  output.write.Reset();
  std::string text;
  char buffer[kMaxVersionBytes];
  while (text.size() < kMaxVersionBytes) {
    TRY(WaitFd(output.read.get(), POLLIN, deadline, "virtiofsd --version"));
    const ssize_t count = read(output.read.get(), buffer, sizeof buffer);
    if (count < 0) return SysError("read output of virtiofsd --version");
    if (count == 0) break;
    text.append(buffer, static_cast<size_t>(count));
  }
  output.read.Reset();
  TRY(process.Wait(deadline));
  return ParseVirtiofsdVersion(text);
}

struct Connection {
  UniqueFd listening;  // with one connection waiting in its backlog
  UniqueFd client;
};

// A socket with a name lets anybody connect who may reach the name. This one has its name in a directory of
// ours, and only until our client is connected; the daemon's accept(2) can return nothing but that client.
Result<Connection> MakeConnection(Deadline deadline) {
  const TempDir directory = TRY(TempDir::Create("kata-virtiofsd-"));
  const std::string path = directory.path() + "/socket";
  Connection connection;
  connection.listening = TRY(linux::ListenUnix(path, SOCK_STREAM, 0600, 1));
  connection.client = TRY(linux::ConnectUnix(path, SOCK_STREAM, deadline));
  return connection;
}

// The last line of `text` that holds anything, fit for an error message.
std::string LastLine(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find_last_not_of("\r\n ");
    if (end == std::string_view::npos) break;
    text = text.substr(0, end + 1);
    const size_t start = text.rfind('\n');
    const std::string_view line = start == std::string_view::npos ? text : text.substr(start + 1);
    std::string printable;
    for (const char c : line.substr(0, kMaxReasonBytes)) {
      if (c >= 0x20 && c < 0x7f) printable += c;
    }
    if (!printable.empty()) return printable;
    text = start == std::string_view::npos ? std::string_view() : text.substr(0, start);
  }
  return {};
}

}  // namespace

// Shared with the handlers that wait on the loop. The descriptors belong to the loop thread once
// StartWatching has been posted; the rest is guarded by mutex_.
class Virtiofsd::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, ExitCallback on_exit)
      : loop_(loop), on_exit_(std::move(on_exit)), pidfd_(loop.context()), stderr_(loop.context()) {}

  Status Launch(VirtiofsdKind kind, const VirtiofsdOptions& options, Deadline deadline);
  Status Stop(Deadline deadline);
  std::optional<ExitStatus> WaitEnd(Deadline deadline) {
    std::unique_lock lock(mutex_);
    ended_.wait_until(lock, deadline.time(), [&] { return drained_; });
    return exit_status_;
  }
  void Close();
  UniqueFd TakeSocket() {
    std::lock_guard lock(mutex_);
    return std::move(socket_);
  }
  pid_t pid() const { return pid_; }
  bool running() const {
    std::lock_guard lock(mutex_);
    return !exit_status_;
  }
  std::string LastWords() const {
    std::lock_guard lock(mutex_);
    return LastWordsLocked();
  }

 private:
  void StartWatching();
  void WatchStderr();
  // Reads what is there; false at the end of the stream.
  bool ReadStderr();
  void OnExit();
  bool WaitExit(Deadline deadline);
  // Reaps, where nobody has yet. REQUIRES: mutex_ held.
  void ReapLocked();
  std::string LastWordsLocked() const;

  EventLoop& loop_;
  const ExitCallback on_exit_;
  pid_t pid_ = -1;
  UniqueFd exit_fd_;  // a pidfd that stays open when the process has been reaped
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;
  ChildProcess process_;
  UniqueFd socket_;
  std::optional<ExitStatus> exit_status_;
  bool drained_ = false;  // it has ended and all that it wrote has been read
  std::condition_variable ended_;
  std::string stderr_tail_;

  Descriptor pidfd_;
  Descriptor stderr_;
};

Status Virtiofsd::Impl::Launch(VirtiofsdKind kind, const VirtiofsdOptions& options, Deadline deadline) {
  Command command;
  command.program = options.program;
  command.args = TRY(VirtiofsdArguments(kind, options, kListenFd));
  Connection connection = TRY_CTX(MakeConnection(deadline), "make vhost-user socket");
  PipeEnds errors = TRY(MakePipe());
  TRY(SetNonBlocking(errors.read.get(), true));
  command.stderr_fd = errors.write.get();
  command.inherited_fds = {{kListenFd, connection.listening.get()}};
  command.new_session = true;  // a Ctrl-C at our terminal is for us to handle
  // Follows the thread that spawns, not the process (prctl(2)).
  command.parent_death_signal = SIGKILL;
  command.namespace_fds = options.namespace_fds;
  command.cgroup_procs_fds = options.cgroup_procs_fds;
  process_ = TRY(Spawn(command));
  exit_fd_ = TRY(OpenPidfd(process_.pid()));
  pid_ = process_.pid();
  socket_ = std::move(connection.client);

  TRY(Watch(pidfd_, TRY(exit_fd_.Duplicate())));
  TRY(Watch(stderr_, std::move(errors.read)));
  loop_.Post([self = shared_from_this()] { self->StartWatching(); });
  return {};
}

void Virtiofsd::Impl::StartWatching() {
  pidfd_.async_wait(Descriptor::wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->OnExit();
  });
  WatchStderr();
}

void Virtiofsd::Impl::WatchStderr() {
  stderr_.async_wait(Descriptor::wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (error || !self->stderr_.is_open()) return;
    if (self->ReadStderr()) {
      self->WatchStderr();
    } else {
      storage::Close(self->stderr_);
    }
  });
}

bool Virtiofsd::Impl::ReadStderr() {
  char buffer[4096];
  // One pipe's content at most, so that a daemon which writes without end does not hold the loop.
  for (int turns = 16; turns > 0; --turns) {
    const ssize_t count = read(stderr_.native_handle(), buffer, sizeof buffer);
    if (count == 0) return false;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    std::lock_guard lock(mutex_);
    stderr_tail_.append(buffer, static_cast<size_t>(count));
    if (stderr_tail_.size() > kMaxStderrBytes) stderr_tail_.erase(0, stderr_tail_.size() - kMaxStderrBytes);
  }
  return true;
}

void Virtiofsd::Impl::OnExit() {
  if (stderr_.is_open()) ReadStderr();
  std::string reason;
  {
    std::lock_guard lock(mutex_);
    ReapLocked();
    drained_ = true;
    reason = LastWordsLocked();
    ended_.notify_all();
  }
  if (!stopping_ && on_exit_) on_exit_(std::move(reason));
  Close();
}

void Virtiofsd::Impl::ReapLocked() {
  if (exit_status_) return;
  if (Result<std::optional<ExitStatus>> status = process_.TryWait(); status && *status) {
    exit_status_ = **status;
  }
}

bool Virtiofsd::Impl::WaitExit(Deadline deadline) {
  if (!WaitFd(exit_fd_.get(), POLLIN, deadline, "end of virtiofsd")) return false;
  std::lock_guard lock(mutex_);
  ReapLocked();
  return exit_status_.has_value();
}

Status Virtiofsd::Impl::Stop(Deadline deadline) {
  stopping_ = true;
  {
    std::lock_guard lock(mutex_);
    if (exit_status_) return {};
    (void)process_.Signal(SIGTERM);
  }
  if (WaitExit(deadline)) return {};
  {
    std::lock_guard lock(mutex_);
    if (!exit_status_) TRY_CTX(process_.Signal(SIGKILL), "kill virtiofsd {}", pid_);
  }
  if (!WaitExit(Deadline::After(kKillTime))) {
    return MakeError(Code::kDeadlineExceeded, "wait for killed virtiofsd {} to end: deadline exceeded", pid_);
  }
  return {};
}

void Virtiofsd::Impl::Close() {
  loop_.Post([self = shared_from_this()] {
    storage::Close(self->pidfd_);
    storage::Close(self->stderr_);
  });
}

std::string Virtiofsd::Impl::LastWordsLocked() const {
  const std::string line = LastLine(stderr_tail_);
  if (!exit_status_) return line.empty() ? "" : "virtiofsd: " + line;
  std::string words = "virtiofsd ended: " + exit_status_->Describe();
  if (!line.empty()) words += ": " + line;
  return words;
}

Result<std::unique_ptr<Virtiofsd>> Virtiofsd::Start(EventLoop& loop, const VirtiofsdOptions& options,
                                                    ExitCallback on_exit, Deadline deadline) {
  TRY_CTX(CheckDirectory(options.shared_directory), "start virtiofsd");
  const VirtiofsdKind kind =
      TRY_CTX(DetectKind(options.program, deadline), "start virtiofsd '{}'", options.program);
  std::unique_ptr<Virtiofsd> daemon(new Virtiofsd(std::make_shared<Impl>(loop, std::move(on_exit))));
  TRY_CTX(daemon->impl_->Launch(kind, options, deadline), "start virtiofsd");
  return daemon;
}

Virtiofsd::Virtiofsd(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Virtiofsd::~Virtiofsd() {
  if (impl_->pid() > 0) (void)Stop(Deadline::After(kDestructorStopTime));
  impl_->Close();
}

UniqueFd Virtiofsd::TakeSocket() {
  return impl_->TakeSocket();
}
pid_t Virtiofsd::pid() const {
  return impl_->pid();
}
bool Virtiofsd::running() const {
  return impl_->running();
}
std::string Virtiofsd::LastWords() const {
  return impl_->LastWords();
}
std::optional<ExitStatus> Virtiofsd::WaitEnd(Deadline deadline) {
  return impl_->WaitEnd(deadline);
}
Status Virtiofsd::Stop(Deadline deadline) {
  return impl_->Stop(deadline);
}

}  // namespace kata::storage
