#include "agent/ready_sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "linux/mounts.h"
#include "linux/unix_socket.h"
#include "protocol/constants.h"
#include "protocol/ready_line.h"

namespace kata::agent {
namespace {

constexpr size_t kMaxMessageBytes = 4096;
// Between two messages: services say little before they are ready, and what a container sends without end
// shall not be the agent's work.
constexpr int kPauseMs = 1;
// Of the file system that holds one socket. It is one of its own because a container with CAP_SYS_ADMIN can
// make that read-only or fill it, whatever the bind mount that it sees says (mount(2), MS_REMOUNT).
constexpr char kDirectoryLimits[] = "mode=0755,size=16k,nr_inodes=8";

// Waits until the socket has a message (false: until the pause is over) or nobody wants to know any more,
// which is the result.
bool Waits(int socket, int words, bool for_message) {
  pollfd fds[] = {{words, 0, 0}, {socket, POLLIN, 0}};
  while (poll(fds, for_message ? 2 : 1, for_message ? -1 : kPauseMs) < 0) {
    if (errno != EINTR) return false;
  }
  return fds[0].revents == 0;
}

// On a thread of its own, with descriptors of its own and nothing else. A line fits into the pipe.
void ReadUntilReady(const UniqueFd& socket, const UniqueFd& words) {
  char buffer[kMaxMessageBytes];
  while (Waits(socket.get(), words.get(), true)) {
    const ssize_t count = recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return;
    const std::string_view message(buffer, count < 0 ? 0 : static_cast<size_t>(count));
    if (const std::optional<std::string_view> line = protocol::FindReadyLine(message)) {
      (void)!write(words.get(), line->data(), line->size());
      return;
    }
    if (!Waits(socket.get(), words.get(), false)) return;
  }
}

}  // namespace

void ReadySockets::Clear() {
  while (!entries_.empty()) Remove(entries_.begin()->first);
}

Status ReadySockets::Listen(const std::string& container_id) {
  if (entries_.contains(container_id)) {
    return MakeError(Code::kAlreadyExists, "container '{}' has a socket already", container_id);
  }
  const auto entry =
      std::make_shared<Entry>(loop_, fmt::format("{}/{}", protocol::kGuestNotifyDirectory, container_id));
  TRY(MakeDirectories(entry->directory, 0755));
  entries_[container_id] = entry;
  const auto begin = [&]() -> Status {
    TRY(linux::Mount("notify", entry->directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                     kDirectoryLimits));
    UniqueFd socket = TRY(linux::BindUnix(fmt::format("{}/{}", entry->directory, protocol::kNotifySocketName),
                                          SOCK_DGRAM | SOCK_NONBLOCK, 0777));
    PipeEnds words = TRY(MakePipe());
    entry->words.assign(words.read.Release());
    // Not joined: it may be late to end.
    std::thread([socket = std::move(socket), words = std::move(words.write)] {
      ReadUntilReady(socket, words);
    }).detach();
    return {};
  };
  if (Status status = begin(); !status) {
    Remove(container_id);
    return status;
  }
  AwaitWord(entry);
  return {};
}

void ReadySockets::AwaitWord(const std::shared_ptr<Entry>& entry) {
  entry->words.async_wait(asio::posix::stream_descriptor::wait_read,
                          [weak = std::weak_ptr(entry)](const asio::error_code& error) {
                            const std::shared_ptr<Entry> self = weak.lock();
                            if (error || !self) return;
                            char buffer[protocol::kMaxReadyLineBytes];
                            const ssize_t count = read(self->words.native_handle(), buffer, sizeof buffer);
                            if (count <= 0) return;
                            self->line.assign(buffer, static_cast<size_t>(count));
                            if (self->callback) std::exchange(self->callback, {})(self->line);
                          });
}

Status ReadySockets::Await(const std::string& container_id, uint64_t connection_id, ReadyCallback callback) {
  const auto it = entries_.find(container_id);
  if (it == entries_.end()) return MakeError(Code::kNotFound, "container '{}' has no socket", container_id);
  Entry& entry = *it->second;
  if (!entry.line.empty()) {
    callback(entry.line);
    return {};
  }
  entry.connection_id = connection_id;
  entry.callback = std::move(callback);
  return {};
}

void ReadySockets::Remove(const std::string& container_id) {
  const auto it = entries_.find(container_id);
  if (it == entries_.end()) return;
  const auto remove = [&]() -> Status {
    TRY(linux::UnmountAll(it->second->directory));
    return RemoveTree(it->second->directory);
  };
  if (Status status = remove(); !status) {
    log::Warning("a container's socket was not removed", {{"error", status.error().message()}});
  }
  entries_.erase(it);
}

void ReadySockets::DropConnection(uint64_t connection_id) {
  for (const auto& [container_id, entry] : entries_) {
    if (entry->connection_id == connection_id) entry->callback = {};
  }
}

}  // namespace kata::agent
