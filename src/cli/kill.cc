// kata-runtime kill
#include "cli/commands.h"
#include "cli/container.h"
#include "linux/signals.h"

namespace kata::cli {
namespace {

Status Kill(const GlobalOptions& globals, const KillOptions& options) {
  Container container = TRY(Container::Open(globals, options.id));
  // kill(2): "If sig is 0, then no signal is sent, but existence [...] checks are still performed".
  const int signal = options.signal == "0" ? 0 : TRY(linux::ParseSignal(options.signal));
  const auto already_ended = [&]() -> Status {
    // With --all the wish is that no process is left, and so it is.
    if (options.all) return {};
    // The words by which engines recognize that there is nothing left to kill.
    return StoppedError(Code::kNotFound, "container not running", container.state());
  };
  const std::string status = TRY(container.CurrentStatus());
  // Of one that is being created nothing runs before there is a server.
  if (status == "stopped" || container.server() == nullptr) return already_ended();
  if (signal == 0) return {};
  Status sent = container.server()->Kill(options.id, signal, options.all);
  if (sent) return sent;
  const Code code = sent.error().code();
  const bool has_ended = code == Code::kNotFound || code == Code::kFailedPrecondition ||
                         (code == Code::kUnavailable && HasStopped(globals, options.id));
  return has_ended ? already_ended() : sent;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const KillOptions& options) {
  TRY_CTX(Kill(globals, options), "kill container '{}'", options.id);
  return 0;
}

}  // namespace kata::cli
