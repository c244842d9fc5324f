#include "cli/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/file.h"
#include "linux/unix_socket.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kConsoleSocketTimeout{10};
constexpr size_t kCopyBytes = 32u << 10;

// Everything passes through unchanged: echo, line editing and Ctrl-C are the work of the terminal in the
// guest, which also maps new lines if this one would.
Status MakeRaw(int tty_fd) {
  termios mode{};
  if (tcgetattr(tty_fd, &mode) < 0) return SysError("read terminal mode");
  cfmakeraw(&mode);
  if (tcsetattr(tty_fd, TCSANOW, &mode) < 0) return SysError("set terminal to raw mode");
  return {};
}

// The first of this program's own descriptors that is a terminal, or -1.
int OwnTerminal() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (linux::IsTerminal(fd)) return fd;
  }
  return -1;
}

Status SendMaster(const std::string& console_socket, int master_fd) {
  const Deadline deadline = Deadline::After(kConsoleSocketTimeout);
  const UniqueFd socket = TRY(linux::ConnectUnix(console_socket, SOCK_STREAM, deadline));
  // Receivers expect a name with the descriptor.
  return linux::SendUnixMessage(socket.get(), "/dev/ptmx", {master_fd}, deadline);
}

Result<UniqueFd> DuplicateFd(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return SysError("duplicate descriptor {}", fd);
  return UniqueFd(copy);
}

Result<Stdio> OpenTerminal(const oci::Process& process, const StdioOptions& options) {
  linux::PtyPair pty = TRY(linux::OpenPty());
  TRY(MakeRaw(pty.slave.get()));
  linux::WindowSize size;
  if (process.console_size) {
    size = {static_cast<uint16_t>(process.console_size->height),
            static_cast<uint16_t>(process.console_size->width)};
  }
  const int own = OwnTerminal();
  if (options.console_socket.empty() && own >= 0) {
    if (const Result<linux::WindowSize> own_size = linux::GetWindowSize(own)) size = *own_size;
  }
  if (size.rows != 0 || size.columns != 0) TRY(linux::SetWindowSize(pty.master.get(), size));

  Stdio stdio;
  stdio.terminal = true;
  stdio.out = TRY(pty.slave.Duplicate());
  stdio.err = TRY(pty.slave.Duplicate());
  stdio.in = std::move(pty.slave);
  if (options.console_socket.empty()) {
    // As runc, a file gets the lines as they were written.
    if (!linux::IsTerminal(STDOUT_FILENO)) TRY(linux::KeepNewlines(pty.master.get()));
    stdio.master = std::move(pty.master);
  } else {
    TRY_CTX(SendMaster(options.console_socket, pty.master.get()), "send terminal to console socket '{}'",
            options.console_socket);
  }
  return stdio;
}

// Bytes on their way from one descriptor to another.
class Copier {
 public:
  Copier(int from, int to) : from_(from), to_(to) {}

  // What to wait for: room for what is held, else more input. Negative descriptors make poll pass over the
  // entry.
  pollfd WaitFor() const {
    if (!held_.empty()) return {to_, POLLOUT, 0};
    return {from_, POLLIN, 0};
  }
  // After a wait. Neither end of input nor an output that is gone is an error: the process decides when it
  // ends.
  void Advance() {
    if (held_.empty()) {
      char buffer[kCopyBytes];
      const ssize_t count = read(from_, buffer, sizeof buffer);
      if (count > 0) {
        held_.assign(buffer, static_cast<size_t>(count));
      } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        from_ = -1;
      }
      return;
    }
    // One write of at most PIPE_BUF bytes does not block behind POLLOUT (pipe(7)); a terminal takes what
    // fits.
    const ssize_t count = write(to_, held_.data(), std::min<size_t>(held_.size(), PIPE_BUF));
    if (count >= 0) {
      held_.erase(0, static_cast<size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
      held_.clear();
      from_ = -1;
    }
  }
  bool ended() const { return from_ < 0 && held_.empty(); }

 private:
  int from_;
  int to_;
  std::string held_;
};

// What is left in the terminal after the process's end. Its slave may still be open elsewhere for a moment,
// so there need not be an end of file.
void Drain(Copier& output) {
  constexpr std::chrono::seconds kDrainTimeout{5};
  const Deadline deadline = Deadline::After(kDrainTimeout);
  while (!output.ended() && !deadline.Passed()) {
    pollfd entry = output.WaitFor();
    const int wait_ms = entry.events == POLLOUT ? deadline.RemainingPollMs() : 0;
    if (poll(&entry, 1, wait_ms) <= 0) return;
    output.Advance();
  }
}

// The kernel tells kata-shim, whose terminal it is, by a SIGWINCH.
void PassOnSize(int master_fd) {
  const int own = OwnTerminal();
  if (master_fd < 0 || own < 0) return;
  if (const Result<linux::WindowSize> size = linux::GetWindowSize(own)) {
    (void)linux::SetWindowSize(master_fd, *size);
  }
}

void PassOnSignals(ChildProcess& process, SignalQueue& signals, int master_fd) {
  while (const std::optional<int> signal = signals.Next()) {
    if (*signal != SIGWINCH) {
      (void)process.Signal(*signal);  // fails only if it has ended
      continue;
    }
    PassOnSize(master_fd);
  }
}

}  // namespace

Status CheckTerminal(bool terminal, const StdioOptions& options) {
  if (options.detach && terminal && options.console_socket.empty()) {
    return Error(Code::kInvalidArgument,
                 "cannot allocate a terminal for a detached process without a console socket");
  }
  if (!options.console_socket.empty() && !(options.detach && terminal)) {
    return Error(Code::kInvalidArgument,
                 "cannot use a console socket for a process that is not detached or has no terminal");
  }
  return {};
}

Result<Stdio> OpenStdio(const oci::Process& process, const StdioOptions& options) {
  if (process.terminal) return TRY_CTX(OpenTerminal(process, options), "open terminal");
  Stdio stdio;
  stdio.in = TRY(DuplicateFd(STDIN_FILENO));
  stdio.out = TRY(DuplicateFd(STDOUT_FILENO));
  stdio.err = TRY(DuplicateFd(STDERR_FILENO));
  return stdio;
}

Result<int> ServeForeground(ChildProcess& process, SignalQueue& signals, Stdio stdio) {
  const UniqueFd master = std::move(stdio.master);
  // The slave is the process's and the server's now.
  stdio = Stdio();
  std::optional<linux::RawTerminal> raw;
  if (master) {
    TRY(SetNonBlocking(master.get(), true));
    if (linux::IsTerminal(STDIN_FILENO)) raw.emplace(TRY(linux::RawTerminal::Enter(STDIN_FILENO)));
  }
  // It may have changed since the terminal was made, which is a boot ago.
  PassOnSize(master.get());
  Copier input(master ? STDIN_FILENO : -1, master.get());
  Copier output(master.get(), STDOUT_FILENO);
  for (;;) {
    pollfd fds[] = {
        {process.pidfd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}, input.WaitFor(), output.WaitFor()};
    if (poll(fds, std::size(fds), -1) < 0) {
      if (errno == EINTR) continue;
      return SysError("wait for the container");
    }
    if (fds[1].revents != 0) PassOnSignals(process, signals, master.get());
    if (fds[2].revents != 0) input.Advance();
    if (fds[3].revents != 0) output.Advance();
    if (fds[0].revents == 0) continue;
    Drain(output);
    const std::optional<ExitStatus> status = TRY(process.TryWait());
    if (status) return status->ShellCode();
  }
}

}  // namespace kata::cli
