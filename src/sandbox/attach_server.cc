// AttachServer: accepts clients, takes one request and one commit from each.
#include "sandbox/attach_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "linux/unix_socket.h"
#include "sandbox/attach_message.h"

namespace kata::sandbox {
namespace {

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

Result<std::unique_ptr<AttachServer>> AttachServer::Create(FdWatcher& watcher, UniqueFd listening_socket,
                                                           Handlers handlers) {
  // Only this program waits on the listening socket, so its flags are its own.
  TRY(SetNonBlocking(listening_socket.get(), true));
  std::unique_ptr<AttachServer> server(
      new AttachServer(watcher, std::move(listening_socket), std::move(handlers)));
  TRY(server->WaitForConnection());
  return server;
}

Status AttachServer::WaitForConnection() {
  listen_watch_ = TRY(watcher_.Once(listening_socket_.get(), EPOLLIN, [this](uint32_t) { Accept(); }));
  return {};
}

void AttachServer::Accept() {
  UniqueFd socket(accept4(listening_socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket && connections_.size() < kMaxConnections) {
    const uint64_t id = ++last_id_;
    connections_[id].socket = std::move(socket);
    WaitForMessage(id);
  }
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
  if (attached) handlers_.on_closed(id, committed);
}

}  // namespace kata::sandbox
