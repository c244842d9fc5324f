#include "sandbox/boot_slot.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "base/file.h"

namespace kata::sandbox {
namespace {

Result<UniqueFd> WatchClosing(const std::string& directory) {
  UniqueFd events(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!events) return SysError("watch '{}'", directory);
  // A lock goes with the last descriptor of its file, also when that was its process's end.
  if (inotify_add_watch(events.get(), directory.c_str(), IN_CLOSE_WRITE) < 0) {
    return SysError("watch '{}'", directory);
  }
  return events;
}

Result<std::vector<UniqueFd>> OpenSlots(const std::string& directory, unsigned count) {
  std::vector<UniqueFd> slots;
  for (unsigned i = 0; i < count; ++i) {
    slots.push_back(TRY(Open(fmt::format("{}/{}", directory, i), O_RDWR | O_CREAT, 0600)));
  }
  return slots;
}

// Returns when a slot may have become free.
Status AwaitClosing(int events, Deadline deadline, int cancel_fd) {
  pollfd fds[] = {{events, POLLIN, 0}, {cancel_fd, POLLIN, 0}};
  const int ready = poll(fds, std::size(fds), deadline.RemainingPollMs());
  if (ready < 0 && errno != EINTR) return SysError("wait for a boot slot");
  if (ready > 0 && fds[1].revents != 0) return Error(Code::kCancelled, "cancelled");
  if (deadline.Passed()) return Error(Code::kDeadlineExceeded, "wait for a boot slot: deadline exceeded");
  char buffer[4096];
  while (read(events, buffer, sizeof buffer) > 0) {
  }
  return {};
}

}  // namespace

Result<BootSlot> BootSlot::Take(const std::string& directory, unsigned count, Deadline deadline,
                                int cancel_fd) {
  TRY(MakeDirectories(directory));
  std::vector<UniqueFd> slots = TRY(OpenSlots(directory, count));
  UniqueFd events;
  for (;;) {
    for (UniqueFd& slot : slots) {
      if (flock(slot.get(), LOCK_EX | LOCK_NB) == 0) return BootSlot(std::move(slot));
    }
    // To close a watch takes the kernel 20 ms, so there is none before it is needed. A slot may have become
    // free before the watch began: then it is found at the second look.
    if (events) {
      TRY(AwaitClosing(events.get(), deadline, cancel_fd));
    } else {
      events = TRY(WatchClosing(directory));
    }
  }
}

}  // namespace kata::sandbox
