#include "agent/debug_console.h"

#include <fcntl.h>
#include <signal.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/write.hpp>
#include <memory>
#include <utility>

#include "agent/guest_program.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "linux/terminal.h"

namespace kata::agent {
namespace {

using asio::posix::stream_descriptor;

// Between two shells on the same terminal, for one that ends at once.
constexpr std::chrono::seconds kShellPause{1};

// One connection and its shell. Lives as long as one of its reads or writes is under way.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(EventLoop& loop, UniqueFd connection, UniqueFd terminal, UniqueFd shell_pidfd)
      : connection_{stream_descriptor(loop.context(), connection.Release()), {}},
        terminal_{stream_descriptor(loop.context(), terminal.Release()), {}},
        shell_pidfd_(std::move(shell_pidfd)) {}

  void Start() {
    Copy(connection_, terminal_);
    Copy(terminal_, connection_);
  }

 private:
  struct End {
    stream_descriptor stream;
    std::array<char, 4096> buffer;  // what was read here
  };

  void Copy(End& from, End& to) {
    from.stream.async_read_some(asio::buffer(from.buffer), [self = shared_from_this(), &from, &to](
                                                               const asio::error_code& error, size_t count) {
      if (error) return self->Close();
      asio::async_write(to.stream, asio::buffer(from.buffer, count),
                        [self, &from, &to](const asio::error_code& write_error, size_t) {
                          if (write_error) return self->Close();
                          self->Copy(from, to);
                        });
    });
  }

  void Close() {
    asio::error_code ignored;
    connection_.stream.close(ignored);
    // The shell's terminal hangs up; a shell that does not care is killed.
    terminal_.stream.close(ignored);
    (void)SignalPidfd(shell_pidfd_.get(), SIGKILL);
  }

  End connection_;
  End terminal_;
  UniqueFd shell_pidfd_;
};

}  // namespace

Result<std::string> DebugConsole::FindShell() {
  if (Result<std::string> bash = FindGuestProgram("bash")) return bash;
  return FindGuestProgram("sh");
}

Result<ChildProcess> DebugConsole::StartShell(int terminal_fd) {
  Command command;
  command.program = TRY(FindShell());
  command.environment = {"TERM=linux", "HOME=/", fmt::format("PATH={}", kGuestProgramPath)};
  command.working_directory = "/";
  command.stdin_fd = command.stdout_fd = command.stderr_fd = terminal_fd;
  command.new_session = true;
  command.controlling_tty_fd = terminal_fd;
  return Spawn(command);
}

Status DebugConsole::Serve(UniqueFd connection) {
  linux::PtyPair pty = TRY(linux::OpenPty());
  ChildProcess shell = TRY(StartShell(pty.slave.get()));
  pty.slave.Reset();
  UniqueFd pidfd = TRY(DuplicateFd(shell.pidfd()));
  TRY(reaper_.Watch(std::move(shell), [](ExitStatus status) {
    log::Info("debug console: the shell ended", {{"status", status.Describe()}});
  }));
  std::make_shared<Session>(loop_, std::move(connection), std::move(pty.master), std::move(pidfd))->Start();
  return {};
}

Status DebugConsole::ServeTerminal(const std::string& path) {
  // Anew each time: the end of a session hangs up its terminal.
  const UniqueFd terminal = TRY(Open(path, O_RDWR | O_NOCTTY));
  return reaper_.Watch(TRY(StartShell(terminal.get())), [this, path](ExitStatus status) {
    log::Info("debug console: the shell ended", {{"status", status.Describe()}});
    pause_.expires_after(kShellPause);
    pause_.async_wait([this, path](const asio::error_code& error) {
      if (error) return;
      if (Status served = ServeTerminal(path); !served) {
        log::Warning("debug console", {{"error", served.error().message()}});
      }
    });
  });
}

}  // namespace kata::agent
