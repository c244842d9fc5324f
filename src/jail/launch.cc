// Spawn, then the messages of SyncChannel.
#include "jail/launch.h"

#include <sys/socket.h>

#include <charconv>

#include "jail/namespaces.h"
#include "jail/sealed_executable.h"
#include "linux/terminal.h"

namespace kata::jail {
namespace {

// Collects the final process and answers until it stands at the gate.
class Negotiation {
 public:
  Negotiation(const Request& request, SyncChannel& channel) : request_(request), channel_(channel) {}

  Status Run(Deadline deadline) {
    for (;;) {
      SyncChannel::Message message = TRY_CTX(channel_.Receive(deadline), "set up container process");
      switch (message.type) {
        case SyncChannel::Type::kPid:
          TRY(Meet(std::move(message)));
          break;
        case SyncChannel::Type::kTerminal:
          terminal_ = std::move(message.fd);
          break;
        case SyncChannel::Type::kReady:
          if (!process_.valid()) return MakeError(Code::kInternal, "container process has not told its pid");
          if (request_.spec.process->terminal && !terminal_)
            return MakeError(Code::kInternal, "container process has not handed over its terminal");
          return {};
        case SyncChannel::Type::kError:
          return SyncChannel::DecodeError(message.text);
        case SyncChannel::Type::kEndOfFile:
          return MakeError(Code::kAborted, "container process ended while it was set up");
        default:
          return MakeError(Code::kInternal, "unexpected message from container process");
      }
    }
  }

  ChildProcess TakeProcess() { return std::move(process_); }
  UniqueFd TakeTerminal() { return std::move(terminal_); }

 private:
  // The final process exists: gives its user namespace the id maps and lets it go on.
  Status Meet(SyncChannel::Message message) {
    pid_t pid = -1;
    const char* end = message.text.data() + message.text.size();
    const auto parsed = std::from_chars(message.text.data(), end, pid);
    if (parsed.ec != std::errc() || parsed.ptr != end || pid <= 0 || !message.fd) {
      return MakeError(Code::kInternal, "malformed pid of container process");
    }
    process_ = ChildProcess(pid, std::move(message.fd));
    if (request_.operation == Request::Operation::kCreate && MakesUserNamespace(request_.spec)) {
      TRY(WriteIdMaps(pid, request_.spec.linux->uid_mappings, request_.spec.linux->gid_mappings));
    }
    return channel_.Send(SyncChannel::Type::kProceed);
  }

  const Request& request_;
  SyncChannel& channel_;
  ChildProcess process_;
  UniqueFd terminal_;
};

Command MakeCommand(const StdioFds& stdio, std::map<int, int> fds, const std::string& program) {
  Command command;
  command.program = program;
  command.argv0 = "kata-agent";
  command.args = {"init"};
  command.stdin_fd = stdio.stdin_fd;
  command.stdout_fd = stdio.stdout_fd;
  command.stderr_fd = stdio.stderr_fd;
  command.inherited_fds = std::move(fds);
  // The limit would pass on to the container.
  command.allow_core_dump = true;
  return command;
}

}  // namespace

Result<LaunchedProcess> Launch(const Request& request, const StdioFds& stdio, std::map<int, int> fds,
                               const std::string& self_executable, Deadline deadline) {
  const UniqueFd request_fd = TRY(MakeSealedMemfd("jail-request", SerializeRequest(request)));
  SocketPairEnds sockets = TRY(MakeSocketPair(SOCK_SEQPACKET));
  fds[kRequestFd] = request_fd.get();
  fds[kSyncFd] = sockets.second.get();
  const bool terminal = request.spec.process->terminal;
  const StdioFds inherited = terminal ? StdioFds() : stdio;
  const Command command = MakeCommand(inherited, std::move(fds), TRY(SealedExecutablePath(self_executable)));
  ChildProcess intermediate = TRY_CTX(Spawn(command), "start container set-up");
  sockets.second.Reset();

  LaunchedProcess launched;
  launched.channel = SyncChannel(std::move(sockets.first));
  Negotiation negotiation(request, launched.channel);
  TRY(negotiation.Run(deadline));
  launched.process = negotiation.TakeProcess();
  launched.terminal = negotiation.TakeTerminal();
  if (terminal && stdio.plain_newlines) {
    TRY_CTX(linux::KeepNewlines(launched.terminal.get()), "set up container process");
  }
  const ExitStatus status = TRY_CTX(intermediate.Wait(deadline), "container set-up");
  if (status.ShellCode() != 0)
    return MakeError(Code::kInternal, "container set-up ended with {}", status.Describe());
  return launched;
}

Status OpenGate(SyncChannel& channel) {
  TRY_CTX(channel.Send(SyncChannel::Type::kStart), "start container process");
  return {};
}

Status AwaitProgram(SyncChannel& channel, Deadline deadline) {
  const SyncChannel::Message message = TRY_CTX(channel.Receive(deadline), "start container process");
  channel.Close();
  if (message.type == SyncChannel::Type::kError) return SyncChannel::DecodeError(message.text);
  if (message.type != SyncChannel::Type::kEndOfFile) {
    return MakeError(Code::kInternal, "unexpected message from container process");
  }
  return {};
}

}  // namespace kata::jail
