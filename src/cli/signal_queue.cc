#include "cli/signal_queue.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>

#include "linux/signals.h"

namespace kata::cli {
namespace {

constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
// SIGCHLD tells of our own child. The others are about this process itself: synchronous faults, a broken
// pipe, and stops by a terminal that it does not own.
constexpr int kNotForwarded[] = {SIGCHLD, SIGPIPE, SIGSEGV, SIGBUS,  SIGFPE,
                                 SIGILL,  SIGTRAP, SIGSYS,  SIGTTIN, SIGTTOU};

}  // namespace

Result<SignalQueue> SignalQueue::ForEnding() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kEnding) sigaddset(&signals, signal);
  return Block(signals);
}

Result<SignalQueue> SignalQueue::ForForwarding() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int signal : kNotForwarded) sigdelset(&signals, signal);
  return Block(signals);
}

Result<SignalQueue> SignalQueue::Block(const sigset_t& signals) {
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return SysError("create signal descriptor");
  sigset_t old_mask;
  const int error = pthread_sigmask(SIG_BLOCK, &signals, &old_mask);
  if (error != 0) return ErrnoError(error, "block signals");
  return SignalQueue(std::move(fd), old_mask);
}

SignalQueue::~SignalQueue() {
  if (fd_) pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

std::optional<int> SignalQueue::Next() {
  signalfd_siginfo info;
  if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

Status SignalQueue::CheckInterrupt() {
  while (const std::optional<int> signal = Next()) {
    if (std::find(std::begin(kEnding), std::end(kEnding), *signal) != std::end(kEnding)) {
      return MakeError(Code::kCancelled, "interrupted by {}", linux::SignalName(*signal));
    }
  }
  return {};
}

}  // namespace kata::cli
