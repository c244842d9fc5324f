#include "cli/launch.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/shim_message.h"
#include "base/take_field.h"

namespace kata::cli {
namespace {

constexpr char kServerProgram[] = "containerd-shim-kata-v2";
constexpr char kShimProgram[] = "kata-shim";
// The server takes its sockets under these numbers.
constexpr int kTaskSocketFd = 3;
constexpr int kAttachSocketFd = 4;
constexpr size_t kMaxWords = 8u << 10;
constexpr size_t kMaxWordsInError = 1000;

bool IsExecutable(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

// The directories of PATH, absolute ones only: a privileged program does not look in the working directory.
std::vector<std::string> PathDirectories() {
  const char* path = getenv("PATH");
  std::string_view rest = path != nullptr ? path : kDefaultSearchPath;
  std::vector<std::string> directories;
  while (!rest.empty()) {
    const std::string_view directory = TakeField(rest, ':');
    if (directory.starts_with('/')) directories.emplace_back(directory);
  }
  return directories;
}

// Engines protect themselves from the host's OOM killer, and what they start inherits it. What is not to be
// had is no reason to refuse a container, whose own score in the guest does not depend on it: lowering takes
// CAP_SYS_RESOURCE (proc(5)).
void AdjustOomScore(const ChildProcess& process, const std::optional<int64_t>& value) {
  if (!value) return;
  const std::string knob = fmt::format("/proc/{}/oom_score_adj", process.pid());
  const Status status = WriteKnob(knob, fmt::format("{}", *value));
  if (!status) log::Warning("cannot set the OOM score", {{"error", status.error().message()}});
}

// What ps(1) shows. The container's own arguments may be more than this host takes: that depends on the
// stack's limit, but for 128 KiB together with the environment (execve(2)).
std::vector<std::string> ShownArguments(const std::vector<std::string>& args) {
  size_t room = 64u << 10;
  std::vector<std::string> shown;
  for (const std::string& arg : args) {
    shown.push_back(arg.substr(0, room));
    const size_t cost = shown.back().size() + 1 + sizeof(char*);
    if (cost >= room) break;
    room -= cost;
  }
  return shown;
}

}  // namespace

Result<std::string> FindProgram(const std::string& name) {
  const std::unique_ptr<char, decltype(&free)> self(realpath("/proc/self/exe", nullptr), &free);
  if (!self) return SysError("find '/proc/self/exe'");
  std::string directory = self.get();
  directory.erase(directory.find_last_of('/'));
  const std::string beside = directory + "/" + name;
  const std::string libexec =
      std::filesystem::path(directory + "/" KATA_LIBEXEC_FROM_BIN "/" + name).lexically_normal();
  for (const std::string& path : {beside, libexec}) {
    if (IsExecutable(path)) return path;
  }
  for (const std::string& place : PathDirectories()) {
    std::string path = fmt::format("{}/{}", place, name);
    if (IsExecutable(path)) return path;
  }
  return MakeError(Code::kNotFound, "find program '{}': it is neither '{}' nor '{}', nor in PATH", name,
                   beside, libexec);
}

Result<SandboxServer> SandboxServer::Start(const sandbox::StateDirectory& directory,
                                           const std::string& config_file,
                                           const std::optional<int64_t>& oom_score_adj,
                                           const GlobalOptions& globals) {
  const UniqueFd task_socket = TRY(directory.ListenTask());
  const UniqueFd attach_socket = TRY(directory.ListenAttach());
  PipeEnds stderr_pipe = TRY(MakePipe());
  TRY(SetNonBlocking(stderr_pipe.read.get(), true));

  Command command;
  command.program = TRY(FindProgram(kServerProgram));
  command.args = {"-id", directory.id(), "-state-dir", directory.path(), "-config", config_file};
  if (globals.debug) command.args.push_back("-debug");
  const bool stderr_is_log = globals.debug && globals.log.empty();
  if (stderr_is_log) command.args.push_back("-log-to-stderr");
  if (!globals.log.empty()) {
    command.args.insert(command.args.end(), {"-log", globals.log, "-log-format",
                                             globals.log_format == log::Format::kJson ? "json" : "text"});
  }
  command.working_directory = "/";
  command.stderr_fd = stderr_pipe.write.get();
  command.inherited_fds = {{kTaskSocketFd, task_socket.get()}, {kAttachSocketFd, attach_socket.get()}};
  command.new_session = true;
  ChildProcess process = TRY_CTX(Spawn(command), "start sandbox server");
  AdjustOomScore(process, oom_score_adj);
  // Only the server must hold the sockets: when it ends, its clients notice.
  return SandboxServer(std::move(process), std::move(stderr_pipe.read), stderr_is_log);
}

void SandboxServer::ReadStderr() {
  char buffer[4096];
  ssize_t count;
  while ((count = read(stderr_.get(), buffer, sizeof buffer)) > 0) {
    std::string_view rest(buffer, static_cast<size_t>(count));
    for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      line_ += rest.substr(0, end + 1);
      TakeLine(std::exchange(line_, {}));
      rest.remove_prefix(end + 1);
    }
    line_ += rest;
    if (line_.size() > kMaxWords) TakeLine(std::exchange(line_, {}));
  }
  if (count == 0) TakeLine(std::exchange(line_, {}));
}

void SandboxServer::TakeLine(std::string_view line) {
  // As log::Format::kText writes them.
  if (show_records_ && line.starts_with("time=\"")) {
    (void)!write(STDERR_FILENO, line.data(), line.size());
    return;
  }
  words_ += line;
  if (words_.size() > kMaxWords) words_.erase(0, words_.size() - kMaxWords);
}

std::string SandboxServer::LastWords() {
  ReadStderr();
  std::string line;
  for (const char c : words_) line += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  const size_t end = line.find_last_not_of(' ');
  line.erase(end == std::string::npos ? 0 : end + 1);
  if (line.size() > kMaxWordsInError) line = "..." + line.substr(line.size() - kMaxWordsInError);
  return line;
}

Error SandboxServer::Explain(Error error, std::chrono::milliseconds grace) {
  if (!process_.valid()) return error;
  const Result<ExitStatus> status = process_.Wait(Deadline::After(grace));
  if (!status) return error;
  const std::string words = LastWords();
  return MakeError(error.code(), "the sandbox server ended with {}: {}", status->Describe(),
                   words.empty() ? error.message() : words);
}

void SandboxServer::AwaitEnd(std::chrono::milliseconds grace) {
  if (!process_.valid()) return;
  const Deadline deadline = Deadline::After(grace);
  // It must not hang on a full pipe meanwhile.
  while (!deadline.Passed()) {
    ReadStderr();
    pollfd fds[] = {{process_.pidfd(), POLLIN, 0}, {stderr_.get(), POLLIN, 0}};
    if (poll(fds, 2, deadline.RemainingPollMs()) < 0 && errno != EINTR) break;
    if (fds[0].revents != 0) break;
    if ((fds[1].revents & POLLHUP) != 0) {
      (void)WaitFd(process_.pidfd(), POLLIN, deadline, "the end of the sandbox server");
      break;
    }
  }
  constexpr std::chrono::seconds kGrace{5};
  (void)process_.Terminate(kGrace);
}

void SandboxServer::Detach() {
  if (process_.valid()) (void)process_.Detach();
  if (stderr_.valid()) ReadStderr();  // what it said before its last answer
  stderr_.Reset();
}

Result<StandIn> StartStandIn(const std::string& id, const std::string& exec_id, const oci::Process& process,
                             const Stdio& stdio, const StandInPlace& place, bool die_with_us) {
  SocketPairEnds channel = TRY(MakeSocketPair(SOCK_SEQPACKET));
  Command command;
  command.program = TRY(FindProgram(kShimProgram));
  command.args = ShownArguments(process.args);
  command.argv0 = command.args.front();
  command.args.erase(command.args.begin());
  command.environment = {"KATA_CONTAINER=" + id};
  if (!exec_id.empty()) command.environment->push_back("KATA_EXEC=" + exec_id);
  command.working_directory = "/";
  // Of pipes it must not keep an end: others are to see when the container closes its own.
  if (stdio.terminal) {
    command.stdin_fd = stdio.in.get();
    command.stdout_fd = stdio.out.get();
    command.stderr_fd = stdio.err.get();
  }
  command.inherited_fds = {{kShimChannelFd, channel.second.get()}, {kShimMountsFd, place.mounts.get()}};
  // Its own cannot be joined (setns(2)).
  if (place.users.valid() && !TRY(place.users.IsOwn())) {
    command.inherited_fds.emplace(kShimUsersFd, place.users.get());
  }
  command.new_session = true;
  if (stdio.terminal) command.controlling_tty_fd = stdio.in.get();
  if (die_with_us) command.parent_death_signal = SIGKILL;
  command.namespace_fds = {place.network_namespace.get()};
  linux::NamespaceFd pids;
  if (place.init == 0) {
    command.new_pid_namespace = true;
  } else {
    pids = TRY_CTX(linux::NamespaceFd::OfProcess(place.init, CLONE_NEWPID), "start kata-shim");
    command.pid_namespace_fd = pids.get();
  }
  const std::vector<UniqueFd> cgroup_procs = TRY(place.cgroup.OpenProcs());
  for (const UniqueFd& fd : cgroup_procs) command.cgroup_procs_fds.push_back(fd.get());
  ChildProcess child = TRY_CTX(Spawn(command), "start kata-shim");
  AdjustOomScore(child, process.oom_score_adj);
  return StandIn{std::move(child), std::move(channel.first)};
}

Result<sandbox::AttachRequest> MakeAttachRequest(const std::string& id, const std::string& exec_id,
                                                 StandIn& stand_in, const Stdio& stdio) {
  sandbox::AttachRequest attach;
  attach.id = id;
  attach.exec_id = exec_id;
  attach.terminal = stdio.terminal;
  attach.shim_pid = stand_in.process.pid();
  attach.channel = std::move(stand_in.channel);
  attach.stdin_fd = TRY(stdio.in.Duplicate());
  attach.stdout_fd = TRY(stdio.out.Duplicate());
  if (!stdio.terminal) attach.stderr_fd = TRY(stdio.err.Duplicate());
  return attach;
}

}  // namespace kata::cli
