#include "storage/virtiofsd.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "base/scope_exit.h"
#include "base/supervised_process.h"
#include "linux/unix_socket.h"

namespace kata::storage {
namespace {

constexpr int kListenFd = 3;
constexpr size_t kMaxVersionBytes = 4096;
// QEMU's daemon forgets a SIGTERM that comes before it serves. None has anything that could be lost.
constexpr std::chrono::seconds kSigtermTime{2};
constexpr std::chrono::seconds kDestructorStopTime{2};

Status CheckDirectory(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return SysError("shared directory '{}'", path);
  if (!S_ISDIR(status.st_mode)) return ErrnoError(ENOTDIR, fmt::format("shared directory '{}'", path));
  return {};
}

struct Connection {
  UniqueFd listening;  // with one connection waiting in its backlog
  UniqueFd client;
};

// A socket with a name lets anybody connect who may reach the name. This one has its name in a directory of
// ours, and only until our client is connected; the daemon's accept(2) can return nothing but that client.
Result<Connection> MakeConnection(const std::string& directory, Deadline deadline) {
  const std::string path = directory + "/virtiofsd.sock";
  Connection connection;
  connection.listening = TRY(linux::ListenUnix(path, SOCK_STREAM, 0600, 1));
  const ScopeExit remove([&] { unlink(path.c_str()); });
  connection.client = TRY(linux::ConnectUnix(path, SOCK_STREAM, deadline));
  return connection;
}

}  // namespace

// Shared with the callback of the supervised process, which refers to it weakly.
class Virtiofsd::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, ExitCallback on_exit) : loop_(loop), on_exit_(std::move(on_exit)) {}

  Status Launch(VirtiofsdKind kind, const VirtiofsdOptions& options, Deadline deadline);
  Status Stop(Deadline deadline);

  SupervisedProcess& process() { return *process_; }
  bool launched() const { return process_ != nullptr; }
  UniqueFd TakeSocket() {
    std::lock_guard lock(mutex_);
    return std::move(socket_);
  }
  std::string LastWords() const;

 private:
  void OnExit() {
    if (!stopping_ && on_exit_) on_exit_(*process_->exit_status(), LastWords());
  }

  EventLoop& loop_;
  const ExitCallback on_exit_;
  std::unique_ptr<SupervisedProcess> process_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  UniqueFd socket_;  // guarded by mutex_
};

Status Virtiofsd::Impl::Launch(VirtiofsdKind kind, const VirtiofsdOptions& options, Deadline deadline) {
  Command command;
  command.program = options.program;
  command.args = TRY(VirtiofsdArguments(kind, options, kListenFd));
  Connection connection =
      TRY_CTX(MakeConnection(options.socket_directory, deadline), "make vhost-user socket");
  command.inherited_fds = {{kListenFd, connection.listening.get()}};
  command.new_session = true;  // a Ctrl-C at our terminal is for us to handle
  // Follows the thread that spawns, not the process (prctl(2)).
  command.parent_death_signal = SIGKILL;
  command.cgroup_procs_fds = options.cgroup_procs_fds;
  // It makes files as the user of the guest whom they shall belong to, and is told neither of the user's
  // further groups nor of a right to go past permissions; the guest's kernel has looked at these before it
  // asks.
  command.keep_capabilities = true;
  socket_ = std::move(connection.client);
  SupervisedProcess::Options watch{.name = "virtiofsd"};
  watch.on_error_line = [weak = weak_from_this(), on_line = options.on_error_line](std::string_view line) {
    const auto self = weak.lock();
    if (self && !self->stopping_ && on_line) on_line(line);
  };
  watch.on_exit = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnExit();
  };
  process_ = std::make_unique<SupervisedProcess>(loop_, std::move(watch));
  TRY(process_->Start(std::move(command)));
  return {};
}

Status Virtiofsd::Impl::Stop(Deadline deadline) {
  stopping_ = true;
  TRY(process_->Signal(SIGTERM));
  if (process_->WaitExit(Deadline::At(std::min(deadline.time(), Deadline::After(kSigtermTime).time()))))
    return {};
  return process_->Kill();
}

std::string Virtiofsd::Impl::LastWords() const {
  const std::string said = process_->ErrorSummary();
  const std::optional<ExitStatus> status = process_->exit_status();
  if (!status) return said.empty() ? "" : "virtiofsd: " + said;
  std::string words = "virtiofsd ended: " + status->Describe();
  if (!said.empty()) words += ": " + said;
  return words;
}

// It takes a few milliseconds, and is never out of date when the program is replaced.
Result<VirtiofsdKind> DetectVirtiofsdKind(const std::string& program, Deadline deadline) {
  PipeEnds output = TRY(MakePipe());
  Command command;
  command.program = program;
  command.args = {"--version"};
  command.stdout_fd = output.write.get();
  command.parent_death_signal = SIGKILL;
  ChildProcess process = TRY(Spawn(command));
  output.write.Reset();
  const std::string text =
      TRY(ReadFd(output.read.get(), kMaxVersionBytes, deadline, "the output of virtiofsd --version"));
  TRY(process.Wait(deadline));
  return ParseVirtiofsdVersion(text);
}

Result<std::unique_ptr<Virtiofsd>> Virtiofsd::Start(EventLoop& loop, const VirtiofsdOptions& options,
                                                    ExitCallback on_exit, Deadline deadline) {
  TRY_CTX(CheckDirectory(options.shared_directory), "start virtiofsd");
  const VirtiofsdKind kind =
      TRY_CTX(DetectVirtiofsdKind(options.program, deadline), "start virtiofsd '{}'", options.program);
  std::unique_ptr<Virtiofsd> daemon(new Virtiofsd(std::make_shared<Impl>(loop, std::move(on_exit))));
  TRY_CTX(daemon->impl_->Launch(kind, options, deadline), "start virtiofsd");
  return daemon;
}

Virtiofsd::Virtiofsd(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Virtiofsd::~Virtiofsd() {
  if (impl_->launched()) (void)Stop(Deadline::After(kDestructorStopTime));
}

UniqueFd Virtiofsd::TakeSocket() {
  return impl_->TakeSocket();
}
pid_t Virtiofsd::pid() const {
  return impl_->process().pid();
}
bool Virtiofsd::running() const {
  return impl_->process().running();
}
std::string Virtiofsd::LastWords() const {
  return impl_->LastWords();
}
std::optional<ExitStatus> Virtiofsd::WaitEnd(Deadline deadline) {
  (void)impl_->process().WaitDrained(deadline);
  return impl_->process().exit_status();
}
Status Virtiofsd::Stop(Deadline deadline) {
  return impl_->Stop(deadline);
}

}  // namespace kata::storage
