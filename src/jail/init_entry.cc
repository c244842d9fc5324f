// Entry of `kata-agent init`.
#include <unistd.h>

#include "base/file.h"
#include "jail/init_process.h"
#include "jail/jail.h"
#include "jail/request.h"
#include "jail/sync_channel.h"

namespace kata::jail {
namespace {

constexpr size_t kMaxRequestBytes = 64u << 20;

Status RunJail(const InheritedFds& fds, SyncChannel& channel) {
  const UniqueFd request_fd(kRequestFd);
  const Request request = TRY(ParseRequest(TRY(ReadFd(request_fd.get(), kMaxRequestBytes))));
  return RunIntermediate(request, fds, channel);
}

}  // namespace

void JailMain() {
  const InheritedFds fds = InheritedFds::Capture();
  SyncChannel channel{UniqueFd(kSyncFd)};
  const Status status = RunJail(fds, channel);
  if (!status) (void)channel.SendError(status.error());
  // No destructors, no exit handlers: those belong to the agent.
  _exit(1);
}

}  // namespace kata::jail
