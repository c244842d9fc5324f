// AttachServer: accepts clients, takes one request and one commit from each.
#include "sandbox/attach_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "linux/unix_socket.h"
#include "sandbox/attach_message.h"

namespace kata::sandbox {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};

// The message is there already when it is asked for; a receive that would wait is a spurious wake-up.
Deadline AtOnce() {
  return Deadline::After(std::chrono::seconds(0));
}

// The directory keeps other users out; this holds also where somebody has opened it up.
Status CheckPeer(int socket_fd) {
  const ucred peer = TRY(linux::PeerCredentials(socket_fd));
  if (peer.uid != 0 && peer.uid != geteuid()) {
    return MakeError(Code::kPermissionDenied, "user {} may not attach", peer.uid);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<AttachServer>> AttachServer::Create(EventLoop& loop, FdWatcher& watcher,
                                                           UniqueFd listening_socket, Handlers handlers,
                                                           size_t max_connections) {
  // Only this program waits on the listening socket, so its flags are its own.
  TRY(SetNonBlocking(listening_socket.get(), true));
  std::unique_ptr<AttachServer> server(
      new AttachServer(loop, watcher, std::move(listening_socket), std::move(handlers), max_connections));
  TRY(server->WaitForConnection());
  return server;
}

Status AttachServer::WaitForConnection() {
  if (waiting_ || connections_.size() >= max_connections_) return {};
  listen_watch_ = TRY(watcher_.Once(listening_socket_.get(), EPOLLIN, [this](uint32_t) {
    waiting_ = false;
    Accept();
  }));
  waiting_ = true;
  return {};
}

void AttachServer::Accept() {
  UniqueFd socket(accept4(listening_socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket) {
    const uint64_t id = ++last_id_;
    connections_[id].socket = std::move(socket);
    WaitForMessage(id);
  } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
    AcceptLater();
  }
  GoOn();
}

// Out of descriptors or memory: the connection stays pending, and waiting for it would return at once.
void AttachServer::AcceptLater() {
  waiting_ = true;
  pause_ = std::make_shared<asio::steady_timer>(loop_.context(), kAcceptPause);
  pause_->async_wait([this, weak = std::weak_ptr(pause_)](const std::error_code& error) {
    if (error || weak.expired()) return;  // this object has gone
    waiting_ = false;
    GoOn();
  });
}

void AttachServer::GoOn() {
  if (const Status waiting = WaitForConnection(); !waiting) {
    log::LogError("no more clients can attach", {{"error", waiting.error().message()}});
  }
}

void AttachServer::WaitForMessage(uint64_t id) {
  Connection& connection = connections_.at(id);
  Result<FdWatcher::Watch> watch =
      watcher_.Once(connection.socket.get(), EPOLLIN, [this, id](uint32_t) { OnReadable(id); });
  if (!watch) {
    Drop(id);
    return;
  }
  connection.watch = std::move(*watch);
}

void AttachServer::OnReadable(uint64_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  if (Receive(id, it->second)) {
    WaitForMessage(id);
  } else {
    Drop(id);
  }
}

bool AttachServer::Receive(uint64_t id, Connection& connection) {
  Result<linux::UnixMessage> message = linux::ReceiveUnixMessage(
      connection.socket.get(), kMaxAttachMessageBytes, kMaxAttachDescriptors, AtOnce());
  if (!message) return message.error().code() == Code::kDeadlineExceeded;
  if (message->data.empty()) return false;
  if (connection.attached) {
    if (message->data == kCommitMessage) connection.committed = true;
    return true;
  }
  Status status = CheckPeer(connection.socket.get());
  if (status) {
    Result<AttachRequest> request = DecodeAttachRequest(std::move(*message));
    status = request ? handlers_.on_attach(std::move(*request), id) : Status(std::move(request).error());
  }
  connection.attached = status.has_value();
  const Status sent =
      linux::SendUnixMessage(connection.socket.get(), EncodeAttachReply(status), {}, AtOnce());
  if (!sent) log::Debug("an attach reply was not taken", {{"error", sent.error().message()}});
  return connection.attached;
}

void AttachServer::Drop(uint64_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  const bool attached = it->second.attached;
  const bool committed = it->second.committed;
  it->second.watch.Cancel();
  connections_.erase(it);
  GoOn();
  if (attached) handlers_.on_closed(id, committed);
}

}  // namespace kata::sandbox
