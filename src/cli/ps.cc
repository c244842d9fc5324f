// kata-runtime ps
#include "base/file.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/ps_table.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

constexpr std::chrono::seconds kPsTimeout{30};

// None for a container that has stopped.
Result<std::vector<pid_t>> Pids(const GlobalOptions& globals, const std::string& id) {
  Container container = TRY(Container::Open(globals, id));
  if (container.server() == nullptr) return std::vector<pid_t>();
  Result<std::vector<pid_t>> pids = container.server()->Pids(id);
  // It has ended meanwhile.
  if (!pids && pids.error().code() == Code::kUnavailable && HasStopped(globals, id))
    return std::vector<pid_t>();
  return pids;
}

// As runc does: ps knows the host's processes, and what it is asked for is the user's matter.
Result<std::string> Table(const std::vector<pid_t>& pids, const std::vector<std::string>& ps_args) {
  PipeEnds output = TRY(MakePipe());
  Command command;
  command.program = "ps";
  command.args = ps_args.empty() ? std::vector<std::string>{"-ef"} : ps_args;
  command.stdout_fd = output.write.get();
  command.stderr_fd = STDERR_FILENO;
  ChildProcess process = TRY(Spawn(command));
  output.write.Reset();
  const Deadline deadline = Deadline::After(kPsTimeout);
  const std::string text = TRY(ReadFd(output.read.get(), kDefaultReadLimit, deadline, "the output of ps"));
  const ExitStatus status = TRY(process.Wait(deadline));
  if (status.ShellCode() != 0) return MakeError(Code::kAborted, "ps: {}", status.Describe());
  return SelectProcesses(text, pids);
}

Status Show(const GlobalOptions& globals, const PsOptions& options) {
  if (options.format != "table" && options.format != "json") {
    return MakeError(Code::kInvalidArgument, "--format: '{}' is not one of table, json", options.format);
  }
  const std::vector<pid_t> pids = TRY(Pids(globals, options.id));
  if (options.format == "json") return WriteStdout(fmt::format("[{}]\n", fmt::join(pids, ",")));
  return WriteStdout(TRY(Table(pids, options.ps_args)));
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const PsOptions& options) {
  const Status shown = Show(globals, options);
  if (!shown) return ContainerError(globals, shown.error(), "list processes of", options.id);
  return 0;
}

}  // namespace kata::cli
