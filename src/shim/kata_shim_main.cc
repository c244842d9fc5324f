// kata-shim: the process on the host that stands for a container's process in the guest.
//
// Engines wait for its pid, send signals to it and look at its network namespace and cgroup. It forwards
// signals and window sizes to the sandbox server over the channel that it has inherited and ends with the
// exit code that the server names. One runs for every process of every container, so it allocates nothing and
// needs libc only.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/shim_message.h"

namespace {

using kata::kShimChannelFd;
using kata::kShimMountsFd;
using kata::kShimServerGoneExitCode;
using kata::kShimUsersFd;
using kata::ShimMessage;
using kata::ShimMessageType;

// Signals 1 to 64 that have arrived and are not forwarded yet. Like the kernel's own pending set it holds
// each signal once.
uint64_t pending = 0;

uint64_t Bit(int signal) {
  return uint64_t{1} << (signal - 1);
}

// All but SIGKILL and SIGSTOP, which cannot be caught, and two that are about this process: SIGCHLD is of no
// interest as it has no children, SIGPIPE cannot come as it writes to nothing but the channel.
sigset_t ForwardedSignals() {
  sigset_t set;
  sigfillset(&set);
  sigdelset(&set, SIGCHLD);
  sigdelset(&set, SIGPIPE);
  return set;
}

bool GetWindowSize(uint32_t* rows, uint32_t* columns) {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0) return false;
  *rows = size.ws_row;
  *columns = size.ws_col;
  return true;
}

// False when the channel has no room now.
bool Send(const ShimMessage& message) {
  const ssize_t sent = send(kShimChannelFd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
  // With a broken channel there is nobody to tell; the receiving side of the loop notices it.
  return sent >= 0 || (errno != EAGAIN && errno != EINTR);
}

void ForwardPending() {
  for (int signal = 1; signal <= 64 && pending != 0; ++signal) {
    if ((pending & Bit(signal)) == 0) continue;
    ShimMessage message{ShimMessageType::kSignal, static_cast<uint32_t>(signal), 0};
    if (signal == SIGWINCH) {
      message.type = ShimMessageType::kWindowSize;
      if (!GetWindowSize(&message.a, &message.b)) {
        pending &= ~Bit(signal);
        continue;
      }
    }
    if (!Send(message)) return;
    pending &= ~Bit(signal);
  }
}

void ReadSignals(int signal_fd) {
  signalfd_siginfo info;
  while (read(signal_fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo >= 1 && info.ssi_signo <= 64) pending |= Bit(static_cast<int>(info.ssi_signo));
  }
}

// Returns while there is more to come; ends the program on the last word, or when the server is gone without
// one.
void ReceiveMessages() {
  for (;;) {
    ShimMessage message{};
    const ssize_t received = recv(kShimChannelFd, &message, sizeof(message), MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0) _exit(kShimServerGoneExitCode);
    if (received == static_cast<ssize_t>(sizeof(message)) && message.type == ShimMessageType::kExit) {
      _exit(static_cast<int>(message.a & 0xff));
    }
  }
}

void WriteError(const char* text, size_t size) {
  // Nothing can be done about a failure to report a failure.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, size);
}

// Engines look for a container's files, and list its processes, in the mount namespace of the pid that they
// know. In the host's they would find the host's. False if that cannot be prevented.
bool EnterMounts() {
  if (fcntl(kShimMountsFd, F_GETFD) < 0) return true;  // none was given, and nothing else opened yet
  if (setns(kShimMountsFd, CLONE_NEWNS) < 0) return false;
  close(kShimMountsFd);
  // For the first process of a pid namespace: what stands for the container's processes. Without a directory
  // for it there is no list.
  if (getpid() == 1) mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  return true;
}

// The ids of the container: other containers join it by the pid, and engines read the ids that it maps. Last,
// as it gives up the rights for the rest.
bool EnterUsers() {
  if (fcntl(kShimUsersFd, F_GETFD) < 0) return true;
  if (setns(kShimUsersFd, CLONE_NEWUSER) < 0) return false;
  close(kShimUsersFd);
  return true;
}

}  // namespace

// The arguments are those of the process in the guest: lists of processes show them.
int main() {
  const sigset_t forwarded = ForwardedSignals();
  sigprocmask(SIG_SETMASK, &forwarded, nullptr);
  signal(SIGPIPE, SIG_IGN);
  if (!EnterMounts() || !EnterUsers()) {
    constexpr char kText[] = "kata-shim: it cannot enter the namespaces that it was given\n";
    WriteError(kText, sizeof(kText) - 1);
    return kShimServerGoneExitCode;
  }
  const int signal_fd = signalfd(-1, &forwarded, SFD_CLOEXEC | SFD_NONBLOCK);

  int type = 0;
  socklen_t length = sizeof(type);
  if (signal_fd < 0 || getsockopt(kShimChannelFd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) {
    constexpr char kText[] = "kata-shim: it is started by kata-runtime, with a channel as descriptor 3\n";
    WriteError(kText, sizeof(kText) - 1);
    return kShimServerGoneExitCode;
  }

  pending = Bit(SIGWINCH);  // the size that the terminal has at the start
  for (;;) {
    ForwardPending();
    pollfd fds[2] = {{signal_fd, POLLIN, 0},
                     {kShimChannelFd, static_cast<short>(POLLIN | (pending != 0 ? POLLOUT : 0)), 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[0].revents != 0) ReadSignals(signal_fd);
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) ReceiveMessages();
  }
}
