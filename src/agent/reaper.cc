#include "agent/reaper.h"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "base/log.h"

namespace kata::agent {

struct Reaper::Child {
  Child(ChildProcess p, asio::io_context& context, UniqueFd pidfd, ExitCallback c)
      : process(std::move(p)), descriptor(context, pidfd.Release()), callback(std::move(c)) {}
  ChildProcess process;
  asio::posix::stream_descriptor descriptor;
  ExitCallback callback;
};

Reaper::Reaper(EventLoop& loop) : loop_(loop), signals_(loop.context()) {
  // Blocked and read here, so that no system call of any thread is interrupted by it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) {
    log::LogError("orphans are not reaped", {{"error", SysError("signalfd").message()}});
    return;
  }
  signals_.assign(fd);
  AwaitSignal();
}

Reaper::~Reaper() = default;

Reaper::Hold::Hold(Reaper& reaper) : reaper_(&reaper) {
  const std::lock_guard lock(reaper_->holds_mutex_);
  ++reaper_->holds_;
}

Reaper::Hold::~Hold() {
  if (reaper_ == nullptr) return;
  bool last = false;
  {
    const std::lock_guard lock(reaper_->holds_mutex_);
    last = --reaper_->holds_ == 0;
  }
  if (last) reaper_->loop_.Post([reaper = reaper_] { reaper->Sweep(); });
}

Status Reaper::Watch(ChildProcess child, ExitCallback callback) {
  const pid_t pid = child.pid();
  // Asio closes the descriptor it is given, the ChildProcess its own.
  UniqueFd pidfd = TRY_CTX(DuplicateFd(child.pidfd()), "watch process {}", pid);
  auto entry =
      std::make_shared<Child>(std::move(child), loop_.context(), std::move(pidfd), std::move(callback));
  children_[pid] = entry;
  AwaitExit(entry);
  return {};
}

void Reaper::AwaitSignal() {
  signals_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    // One record may stand for many children (signalfd(2)), so the content says nothing.
    signalfd_siginfo info;
    while (read(signals_.native_handle(), &info, sizeof info) > 0) {
    }
    AwaitSignal();
    Sweep();
  });
}

void Reaper::AwaitExit(const std::shared_ptr<Child>& child) {
  child->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this, weak = std::weak_ptr(child)](const asio::error_code& error) {
                                 if (error) return;
                                 if (const std::shared_ptr<Child> child = weak.lock()) TryFinish(child);
                               });
}

void Reaper::TryFinish(const std::shared_ptr<Child>& child) {
  const pid_t pid = child->process.pid();
  Result<std::optional<ExitStatus>> status = child->process.TryWait();
  if (status && !status->has_value()) {
    AwaitExit(child);
    return;
  }
  children_.erase(pid);
  child->descriptor.close();
  if (!status) {
    // Its owner must not wait for ever for a status that is lost.
    log::LogError("process was not reaped", {{"process-pid", pid}, {"error", status.error().message()}});
    child->callback(ExitStatus{.code = 255});
    return;
  }
  child->callback(**status);
}

void Reaper::Sweep() {
  while (true) {
    // WNOWAIT leaves the child to be reaped by whom it belongs to (waitid(2)).
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    const pid_t pid = info.si_pid;
    if (const auto it = children_.find(pid); it != children_.end()) {
      const std::shared_ptr<Child> child = it->second;
      TryFinish(child);
      continue;
    }
    // Held against Hold's constructor: a child that ended before this lock was taken and is not watched
    // belongs to nobody when there is no hold.
    const std::lock_guard lock(holds_mutex_);
    if (holds_ > 0) return;
    if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG) != 0) return;
  }
}

}  // namespace kata::agent
