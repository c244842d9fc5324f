#include "base/supervised_process.h"

#include <poll.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <list>
#include <mutex>
#include <utility>

#include "base/file.h"
#include "base/log.h"

namespace kata {
namespace {

constexpr size_t kReadChunk = 16u << 10;
// Reads of one descriptor before others get their turn: a program that writes without end must not hold the
// loop.
constexpr int kReadsPerTurn = 8;
// After the end of the process all that it wrote is there; the bound is for a descriptor that lives on
// elsewhere.
constexpr int kDrainReads = 64;
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

}  // namespace

// Shared with the handlers that wait on the loop. The descriptors belong to the loop thread once
// StartWatching has been posted; the rest is guarded by mutex_.
class SupervisedProcess::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, Options options)
      : loop_(loop),
        name_(std::move(options.name)),
        on_error_line_(std::move(options.on_error_line)),
        on_exit_(std::move(options.on_exit)),
        pidfd_(loop.context()) {
    for (Stream& stream : options.streams) AddStream(std::move(stream));
  }

  Status Start(Command command);
  bool WaitExit(Deadline deadline);
  bool WaitDrained(Deadline deadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline.time(), [&] { return drained_; });
  }
  Status Signal(int signal);
  Status Kill();
  void Abandon();

  pid_t pid() const { return pid_; }
  std::optional<ExitStatus> exit_status() const {
    std::lock_guard lock(mutex_);
    return exit_status_;
  }
  std::string ErrorSummary() const {
    std::lock_guard lock(mutex_);
    return error_output_.Summary();
  }

 private:
  struct WatchedStream {
    UniqueFd fd;  // until it is watched
    std::function<void(std::string_view bytes)> consume;
    Descriptor descriptor;
  };

  void AddStream(Stream stream) {
    streams_.push_back(
        WatchedStream{std::move(stream.fd), std::move(stream.consume), Descriptor(loop_.context())});
  }
  void StartWatching();
  void WatchStream(WatchedStream& stream);
  // Reads what is there, at most `reads` chunks; false at the end of the stream.
  bool ReadStream(WatchedStream& stream, int reads);
  void OnExit();
  template <typename F>
  void TakeErrors(F take);
  // Reaps, where nobody has yet. REQUIRES: mutex_ held.
  void ReapLocked();

  EventLoop& loop_;
  const std::string name_;
  const LineCallback on_error_line_;
  std::function<void()> on_exit_;  // loop thread
  pid_t pid_ = -1;
  UniqueFd exit_fd_;  // a pidfd that stays open when the process has been reaped
  std::atomic<bool> abandoned_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ChildProcess process_;
  std::optional<ExitStatus> exit_status_;
  bool drained_ = false;
  ErrorOutput error_output_;

  Descriptor pidfd_;
  std::list<WatchedStream> streams_;  // handlers refer to its elements
};

Status SupervisedProcess::Impl::Start(Command command) {
  PipeEnds errors = TRY(MakePipe());
  command.stderr_fd = errors.write.get();
  AddStream({std::move(errors.read), [this](std::string_view bytes) {
               TakeErrors([&](const LineCallback& on_line) { error_output_.Append(bytes, on_line); });
             }});
  for (const WatchedStream& stream : streams_) TRY(SetNonBlocking(stream.fd.get(), true));
  if (log::GetLevel() <= log::Level::kDebug) log::Debug("start " + name_, {{"command", command.Describe()}});
  process_ = TRY(Spawn(command));
  exit_fd_ = TRY(OpenPidfd(process_.pid()));
  pid_ = process_.pid();
  TRY(Watch(pidfd_, TRY(exit_fd_.Duplicate())));
  for (WatchedStream& stream : streams_) TRY(Watch(stream.descriptor, std::move(stream.fd)));
  loop_.Post([self = shared_from_this()] { self->StartWatching(); });
  return {};
}

void SupervisedProcess::Impl::StartWatching() {
  pidfd_.async_wait(Descriptor::wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->OnExit();
  });
  for (WatchedStream& stream : streams_) WatchStream(stream);
}

void SupervisedProcess::Impl::WatchStream(WatchedStream& stream) {
  stream.descriptor.async_wait(Descriptor::wait_read,
                               [self = shared_from_this(), &stream](const asio::error_code& error) {
                                 if (error || !stream.descriptor.is_open()) return;
                                 if (self->ReadStream(stream, kReadsPerTurn)) {
                                   self->WatchStream(stream);
                                 } else {
                                   Close(stream.descriptor);
                                 }
                               });
}

bool SupervisedProcess::Impl::ReadStream(WatchedStream& stream, int reads) {
  char buffer[kReadChunk];
  for (; reads > 0; --reads) {
    const ssize_t count = read(stream.descriptor.native_handle(), buffer, sizeof buffer);
    if (count > 0) {
      if (!abandoned_) stream.consume({buffer, static_cast<size_t>(count)});
    } else if (count == 0) {
      return false;
    } else if (errno != EINTR) {
      return errno == EAGAIN;
    }
  }
  return true;
}

void SupervisedProcess::Impl::OnExit() {
  for (WatchedStream& stream : streams_) {
    if (stream.descriptor.is_open()) ReadStream(stream, kDrainReads);
  }
  {
    std::lock_guard lock(mutex_);
    ReapLocked();
  }
  TakeErrors([&](const LineCallback& on_line) { error_output_.Finish(on_line); });
  if (!abandoned_ && on_exit_) on_exit_();
  {
    std::lock_guard lock(mutex_);
    drained_ = true;
    changed_.notify_all();
  }
  Close(pidfd_);
  for (WatchedStream& stream : streams_) Close(stream.descriptor);
}

// The callback may ask for what mutex_ guards, so it is called when that is free again.
template <typename F>
void SupervisedProcess::Impl::TakeErrors(F take) {
  std::vector<std::string> lines;
  {
    std::lock_guard lock(mutex_);
    take([&](std::string_view line) { lines.emplace_back(line); });
  }
  if (!on_error_line_) return;
  for (const std::string& line : lines) {
    if (!abandoned_) on_error_line_(line);
  }
}

void SupervisedProcess::Impl::ReapLocked() {
  if (exit_status_) return;
  if (Result<std::optional<ExitStatus>> status = process_.TryWait(); status && *status)
    exit_status_ = **status;
}

bool SupervisedProcess::Impl::WaitExit(Deadline deadline) {
  if (!WaitFd(exit_fd_.get(), POLLIN, deadline, "end of " + name_)) return false;
  std::lock_guard lock(mutex_);
  ReapLocked();
  return exit_status_.has_value();
}

Status SupervisedProcess::Impl::Signal(int signal) {
  std::lock_guard lock(mutex_);
  if (!process_.valid()) return {};
  TRY_CTX(process_.Signal(signal), "signal {} {}", name_, pid_);
  return {};
}

Status SupervisedProcess::Impl::Kill() {
  if (pid_ < 0) return {};
  TRY(Signal(SIGKILL));
  if (WaitExit(Deadline::After(kKillTime))) return {};
  return MakeError(Code::kDeadlineExceeded, "wait for killed {} {} to end: deadline exceeded", name_, pid_);
}

// The owner goes away; its callbacks must not be called any more.
void SupervisedProcess::Impl::Abandon() {
  abandoned_ = true;
  loop_.Post([self = shared_from_this()] {
    Close(self->pidfd_);
    for (WatchedStream& stream : self->streams_) Close(stream.descriptor);
  });
}

SupervisedProcess::SupervisedProcess(EventLoop& loop, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(options))) {}

SupervisedProcess::~SupervisedProcess() {
  (void)Kill();
  impl_->Abandon();
}

Status SupervisedProcess::Start(Command command) {
  return impl_->Start(std::move(command));
}

pid_t SupervisedProcess::pid() const {
  return impl_->pid();
}
std::optional<ExitStatus> SupervisedProcess::exit_status() const {
  return impl_->exit_status();
}
std::string SupervisedProcess::ErrorSummary() const {
  return impl_->ErrorSummary();
}
bool SupervisedProcess::WaitExit(Deadline deadline) {
  return impl_->WaitExit(deadline);
}
bool SupervisedProcess::WaitDrained(Deadline deadline) {
  return impl_->WaitDrained(deadline);
}
Status SupervisedProcess::Signal(int signal) {
  return impl_->Signal(signal);
}
Status SupervisedProcess::Kill() {
  return impl_->Kill();
}

}  // namespace kata
