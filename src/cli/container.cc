#include "cli/container.h"

#include <poll.h>

#include <csignal>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "sandbox/removal.h"

namespace kata::cli {
namespace {

using std::chrono::seconds;

constexpr seconds kServerEndTimeout{20};
constexpr seconds kServerEndGrace{1};
// Some parents never reap.
constexpr std::chrono::milliseconds kReapTime{500};
constexpr seconds kKilledEndTimeout{10};

std::string StatusName(task::Status status) {
  switch (status) {
    case task::CREATED:
      return "created";
    case task::RUNNING:
      return "running";
    case task::PAUSED:
    case task::PAUSING:
      return "paused";
    case task::STOPPED:
      return "stopped";
    default:
      return "creating";
  }
}

// None when it has ended.
std::optional<UniqueFd> OpenRunning(const sandbox::ProcessId& process) {
  Result<UniqueFd> pidfd = OpenPidfd(process.pid);
  // Asked with the descriptor held: the pid may be another's by now.
  if (!pidfd || !sandbox::IsAlive(process)) return std::nullopt;
  return std::move(*pidfd);
}

// Also when it does so within `grace`.
bool HasEnded(const sandbox::ProcessId& process, std::chrono::milliseconds grace, std::string_view what) {
  const std::optional<UniqueFd> pidfd = OpenRunning(process);
  return !pidfd || WaitFd(pidfd->get(), POLLIN, Deadline::After(grace), what);
}

// By what is recorded of it, or because its server has ended, which a lost connection may be the first sign
// of.
bool HasStopped(const sandbox::ContainerState& state) {
  if (state.IsBeingCreated()) return false;
  return state.status == "stopped" ||
         HasEnded(state.server, kServerEndGrace, "the end of the sandbox server");
}

Result<sandbox::ContainerState> ReadState(const GlobalOptions& globals, const std::string& id) {
  return TRY(sandbox::StateDirectory::Open(globals.root, id)).ReadState();
}

// Waits for the end of a process, after `grace` ends it by force.
Status EnsureEnded(const sandbox::ProcessId& process, seconds grace, std::string_view what) {
  const std::optional<UniqueFd> pidfd = OpenRunning(process);
  if (!pidfd) return {};
  if (grace > seconds(0) && WaitFd(pidfd->get(), POLLIN, Deadline::After(grace), what)) return {};
  (void)SignalPidfd(pidfd->get(), SIGKILL);  // fails only if it has ended
  return WaitFd(pidfd->get(), POLLIN, Deadline::After(kKilledEndTimeout), fmt::format("the end of {}", what));
}

}  // namespace

Result<Container> Container::Open(const GlobalOptions& globals, const std::string& id, bool for_removal) {
  sandbox::StateDirectory directory = TRY(sandbox::StateDirectory::Open(globals.root, id));
  sandbox::ContainerState state;
  if (Result<sandbox::ContainerState> read = directory.ReadState()) {
    state = std::move(*read);
  } else {
    log::Debug("container without a readable state", {{"container", id}, {"error", read.error().message()}});
  }
  // A container of a pod is served by the server of its sandbox.
  sandbox::StateDirectory server_directory = directory;
  if (!state.OwnsServer()) {
    if (Result<sandbox::StateDirectory> other =
            sandbox::StateDirectory::Open(globals.root, state.sandbox_id)) {
      server_directory = std::move(*other);
    }
  }
  std::unique_ptr<TaskClient> server;
  Result<UniqueFd> connection = server_directory.ConnectTask();
  if (connection) {
    server = std::make_unique<TaskClient>(std::move(*connection));
  } else if (connection.error().code() != Code::kUnavailable &&
             !(for_removal && connection.error().code() == Code::kDeadlineExceeded)) {
    return std::move(connection).error().Wrap("connect to the sandbox server");
  }
  return Container(std::move(directory), std::move(server_directory), std::move(state), std::move(server));
}

std::string StopReason(const sandbox::ContainerState& state) {
  if (!state.error.empty()) return state.error;
  const bool served = state.status != "stopped" && state.server.pid != 0;
  return served ? "its sandbox server has ended" : "";
}

Error StoppedError(Code code, std::string_view text, const sandbox::ContainerState& state) {
  const std::string reason = StopReason(state);
  return MakeError(code, "{}{}{}", text, reason.empty() ? "" : ": ", reason);
}

bool HasStopped(const GlobalOptions& globals, const std::string& id) {
  const Result<sandbox::ContainerState> state = ReadState(globals, id);
  return !state || HasStopped(*state);
}

Result<std::string> Container::CurrentStatus() {
  if (server_ == nullptr) return std::string(state_.IsBeingCreated() ? "creating" : "stopped");
  const Result<task::StateResponse> response = server_->State(id());
  if (response) return StatusName(response->status());
  switch (response.error().code()) {
    case Code::kUnavailable:  // the connection is lost
      if (HasStopped(state_)) return std::string("stopped");
      [[fallthrough]];
    case Code::kNotFound:  // it does not have the container yet, or not any more
    case Code::kDeadlineExceeded:
      return state_.status.empty() ? std::string("creating") : state_.status;
    default:
      return response.error();
  }
}

Error ContainerError(const GlobalOptions& globals, Error error, const std::string& verb,
                     const std::string& id) {
  const std::string context = fmt::format("{} container '{}'", verb, id);
  if (error.code() != Code::kUnavailable) return std::move(error).Wrap(context);
  const Result<sandbox::ContainerState> state = ReadState(globals, id);
  if (state && !HasStopped(*state)) return std::move(error).Wrap(context);
  const std::string reason = state ? StopReason(*state) : "";
  return MakeError(Code::kFailedPrecondition, "{}: container not running: {}", context,
                   reason.empty() ? error.message() : reason);
}

void AwaitStandInEnd(const Container& container, std::chrono::milliseconds timeout) {
  const sandbox::ProcessId& shim = container.state().shim;
  if (!HasEnded(shim, timeout, "the end of kata-shim")) return;
  // Until it is reaped its parent may not know yet, and nothing tells of that.
  const Deadline reaped = Deadline::After(kReapTime);
  while (!reaped.Passed() && ProcessStartTime(shim.pid).value_or(0) == shim.start_time) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Status RemoveContainer(Container& container) {
  sandbox::ContainerState state = container.state();
  // The server may have written more since the container was opened.
  if (Result<sandbox::ContainerState> read = container.directory().ReadState()) state = std::move(*read);
  // Removed by somebody else; what was read may be the state of a later container with the same id.
  if (!container.directory().IsCurrent()) return {};
  const bool owns_server = state.OwnsServer();
  if (TaskClient* server = container.server(); server != nullptr && owns_server) {
    const Status status = server->Shutdown(container.id(), /*now=*/true);
    if (!status)
      log::Debug("the sandbox server does not end when asked to", {{"error", status.error().message()}});
  }
  if (owns_server) {
    const seconds grace = container.server() != nullptr ? kServerEndTimeout : seconds(0);
    TRY(EnsureEnded(state.server, grace, "the sandbox server"));
    TRY(EnsureEnded(state.vmm, seconds(0), "the virtual machine"));
  }
  TRY(EnsureEnded(state.shim, seconds(1), "kata-shim"));
  return sandbox::RemoveTraces(container.directory());
}

}  // namespace kata::cli
