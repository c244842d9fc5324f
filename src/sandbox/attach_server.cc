// AttachServer: accepts clients, takes one request and one commit from each.
#include "sandbox/attach_server.h"

#include <sys/socket.h>

#include <chrono>
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

Result<std::unique_ptr<AttachServer>> AttachServer::Create(EventLoop& loop, FdWatcher& watcher,
                                                           UniqueFd listening_socket, Handlers handlers,
                                                           size_t max_connections) {
  std::unique_ptr<AttachServer> server(new AttachServer(watcher, std::move(handlers)));
  server->acceptor_ = TRY(Acceptor::Create(
      loop, std::move(listening_socket),
      [server = server.get()](UniqueFd socket, const sockaddr_storage&, Acceptor::Place place) {
        server->Add(std::move(socket), std::move(place));
      },
      max_connections));
  return server;
}

void AttachServer::Add(UniqueFd socket, Acceptor::Place place) {
  const uint64_t id = ++last_id_;
  Connection& connection = connections_[id];
  connection.place = std::move(place);
  connection.socket = std::move(socket);
  WaitForMessage(id);
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
