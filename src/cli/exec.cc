// kata-runtime exec
#include <fcntl.h>
#include <unistd.h>

#include <chrono>

#include "base/file.h"
#include "base/log.h"
#include "base/parse_number.h"
#include "cli/bundle.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/launch.h"
#include "cli/left_out.h"
#include "cli/pid_file.h"
#include "oci/json.h"
#include "sandbox/attach.h"
#include "sandbox/guest_spec.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kAttachTimeout{15};
// With --ignore-paused, how long a container may stay paused.
constexpr std::chrono::hours kPauseLimit{24};

Result<uint32_t> ParseId(std::string_view text, std::string_view flag) {
  const std::optional<uint32_t> id = ParseNumber<uint32_t>(text);
  if (!id) return MakeError(Code::kInvalidArgument, "{}: expected UID[:GID] in numbers", flag);
  return *id;
}

Status SetUser(const std::string& text, oci::User& user) {
  const std::string flag = fmt::format("--user '{}'", text);
  const size_t colon = text.find(':');
  user.uid = TRY(ParseId(std::string_view(text).substr(0, colon), flag));
  if (colon != std::string::npos) user.gid = TRY(ParseId(std::string_view(text).substr(colon + 1), flag));
  user.username.clear();
  return {};
}

void AddCapabilities(const std::vector<std::string>& names, oci::Process& process) {
  if (names.empty()) return;
  if (!process.capabilities) process.capabilities.emplace();
  oci::Capabilities& sets = *process.capabilities;
  for (const std::string& name : names) {
    for (auto* set : {&sets.bounding, &sets.effective, &sets.permitted}) set->push_back(name);
    // It can only be ambient where it is inheritable, which it is not made here.
    if (!sets.inheritable.empty()) sets.ambient.push_back(name);
  }
}

// The bundle's process with what the flags change.
Result<oci::Process> ProcessFromFlags(const std::string& bundle_path, const ExecOptions& options) {
  // The rest was judged when the container was created, and what it names may have gone since.
  const oci::Spec spec = TRY(ReadSpec(bundle_path));
  if (!spec.process) {
    return MakeError(Code::kInvalidArgument, "specification of '{}': process: it is missing", bundle_path);
  }
  oci::Process process = *spec.process;
  process.args = options.args;
  process.terminal = options.terminal;
  process.console_size.reset();
  process.env.insert(process.env.end(), options.env.begin(), options.env.end());
  if (!options.cwd.empty()) process.cwd = options.cwd;
  if (!options.user.empty()) TRY(SetUser(options.user, process.user));
  process.user.additional_gids.insert(process.user.additional_gids.end(), options.additional_gids.begin(),
                                      options.additional_gids.end());
  AddCapabilities(options.capabilities, process);
  if (options.no_new_privileges) process.no_new_privileges = *options.no_new_privileges;
  TRY(oci::Validate(process));
  return process;
}

Result<oci::Process> ProcessFromFile(const std::string& path) {
  const std::string text = TRY_CTX(ReadFile(path, oci::kMaxConfigBytes), "read process");
  oci::Process process = TRY_CTX(oci::ParseProcess(text), "read process '{}'", path);
  TRY_CTX(oci::Validate(process), "read process '{}'", path);
  return process;
}

// Unique among the processes of a container: no two of our processes have the same pid at the same time.
std::string MakeExecId() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format("exec-{}-{:x}", getpid(),
                     std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

Status CheckStatus(Container& container, bool ignore_paused) {
  const std::string status = TRY(container.CurrentStatus());
  if (status == "stopped") {
    return StoppedError(Code::kFailedPrecondition,
                        "cannot exec in a stopped container: container not running", container.state());
  }
  if (status == "paused" && !ignore_paused) {
    return Error(Code::kFailedPrecondition,
                 "cannot exec in a paused container (use --ignore-paused to override)");
  }
  if (status == "creating") return Error(Code::kFailedPrecondition, "the container is still being created");
  return {};
}

// The process while it is being started; what was started is ended when a step fails.
class NewProcess {
 public:
  NewProcess(Container& container, const ExecOptions& options) : container_(container), options_(options) {}
  NewProcess(const NewProcess&) = delete;
  NewProcess& operator=(const NewProcess&) = delete;
  ~NewProcess() {
    if (!known_to_server_) return;
    stand_in_ = StandIn();  // its end makes the server kill the process
    container_.server()->Unwatch(signals_fd_);
    (void)container_.server()->Delete(container_.id(), exec_id_);  // it goes with the container at the latest
  }

  Status Start(const oci::Process& process, SignalQueue& signals) {
    const log::Step step("start process", {{"container", container_.id()}, {"process", exec_id_}});
    TaskClient& server = *container_.server();
    signals_fd_ = signals.fd();
    const pid_t init = container_.state().shim.pid;
    const linux::NamespaceFd network_namespace = TRY(linux::NamespaceFd::OfProcess(init, CLONE_NEWNET));
    const linux::NamespaceFd mounts = TRY(linux::NamespaceFd::OfProcess(init, CLONE_NEWNS));
    const linux::NamespaceFd users = TRY(linux::NamespaceFd::OfProcess(init, CLONE_NEWUSER));
    // Else they may be those of a later process with its number.
    if (!sandbox::IsAlive(container_.state().shim)) {
      return Error(Code::kFailedPrecondition, "container not running");
    }
    stdio_ = TRY(OpenStdio(process, options_.stdio));
    const cgroup::HostCgroup cgroup(container_.state().cgroups);
    stand_in_ = TRY(StartStandIn(container_.id(), exec_id_, process, stdio_,
                                 {network_namespace, cgroup, mounts, users, init},
                                 /*die_with_us=*/!options_.stdio.detach));
    log::Debug("process on the host", {{"process", exec_id_}, {"kata-shim", stand_in_.process.pid()}});
    TRY(Attach());
    server.WatchWhileWaiting(signals_fd_, [&signals] { return signals.CheckInterrupt(); });
    TRY(server.Exec(container_.id(), exec_id_, process, options_.cgroup, options_.ignore_paused));
    known_to_server_ = true;
    TRY(server.Start(container_.id(), exec_id_,
                     options_.ignore_paused ? kPauseLimit : std::chrono::hours(0)));
    server.Unwatch(signals_fd_);
    TRY(SendPidfd(options_.stdio.pidfd_socket, stand_in_.process.pidfd()));
    TRY(WritePidFile(options_.stdio.pid_file, stand_in_.process.pid()));
    // From here on the server forgets the process when it has ended.
    TRY(attachment_->Commit());
    known_to_server_ = false;
    return {};
  }

  void Detach() { (void)stand_in_.process.Detach(); }
  Result<int> ServeToEnd(SignalQueue& signals) {
    const int exit_code = TRY(ServeForeground(stand_in_.process, signals, std::move(stdio_)));
    log::Debug("process ended", {{"process", exec_id_}, {"code", exit_code}});
    return exit_code;
  }

 private:
  Status Attach() {
    sandbox::AttachRequest attach = TRY(MakeAttachRequest(container_.id(), exec_id_, stand_in_, stdio_));
    UniqueFd socket = TRY(container_.server_directory().ConnectAttach());
    attachment_ = TRY(
        sandbox::Attachment::Attach(std::move(socket), std::move(attach), Deadline::After(kAttachTimeout)));
    return {};
  }

  Container& container_;
  const ExecOptions& options_;
  const std::string exec_id_ = MakeExecId();
  Stdio stdio_;
  StandIn stand_in_;
  std::optional<sandbox::Attachment> attachment_;
  int signals_fd_ = -1;
  bool known_to_server_ = false;
};

Result<int> Exec(const GlobalOptions& globals, const ExecOptions& options) {
  // Before the container is opened, as its client has a thread.
  SignalQueue signals = TRY(options.stdio.detach ? SignalQueue::ForEnding() : SignalQueue::ForForwarding());
  Container container = TRY(Container::Open(globals, options.id));
  TRY(CheckStatus(container, options.ignore_paused));
  for (const auto& [flag, value] : {std::pair("--apparmor", &options.apparmor_profile),
                                    std::pair("--process-label", &options.process_label)}) {
    if (!value->empty()) {
      log::Warning("a flag has no effect: the guest has no such security module", {{"flag", flag}});
    }
  }
  const oci::Process process =
      TRY(options.process_file.empty() ? ProcessFromFlags(container.state().bundle, options)
                                       : ProcessFromFile(options.process_file));
  TRY(sandbox::CheckGuestProcess(process));
  WarnOfUnknownCapabilities(process);
  TRY(CheckTerminal(process.terminal, options.stdio));
  TRY(CheckPidFile(options.stdio.pid_file));
  NewProcess new_process(container, options);
  TRY(new_process.Start(process, signals));
  // The process may run for long, and there may be many.
  container.Disconnect();
  if (!options.stdio.detach) return new_process.ServeToEnd(signals);
  new_process.Detach();
  return 0;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const ExecOptions& options) {
  Result<int> result = Exec(globals, options);
  if (!result) return ContainerError(globals, std::move(result).error(), "exec in", options.id);
  return result;
}

}  // namespace kata::cli
