// AttachServer: the sandbox server's side of attach.sock (attach.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/attach.h"
#include "sandbox/fd_watcher.h"

namespace kata::sandbox {

// Everything on the loop thread.
class AttachServer {
 public:
  struct Handlers {
    // Takes what a client hands over, or says why not; the client is told.
    std::function<Status(AttachRequest request, uint64_t connection_id)> on_attach;
    // A client whose request was taken has gone; `committed`: after it said that the process is wanted.
    std::function<void(uint64_t connection_id, bool committed)> on_closed;
  };

  // `watcher` is borrowed. Accepts connections until destroyed.
  static Result<std::unique_ptr<AttachServer>> Create(FdWatcher& watcher, UniqueFd listening_socket,
                                                      Handlers handlers);

 private:
  static constexpr size_t kMaxConnections = 64;

  struct Connection {
    UniqueFd socket;
    FdWatcher::Watch watch;
    bool attached = false;
    bool committed = false;
  };

  AttachServer(FdWatcher& watcher, UniqueFd listening_socket, Handlers handlers)
      : watcher_(watcher), listening_socket_(std::move(listening_socket)), handlers_(std::move(handlers)) {}

  Status WaitForConnection();
  void Accept();
  void WaitForMessage(uint64_t id);
  void OnReadable(uint64_t id);
  // Whether the connection goes on.
  bool Receive(uint64_t id, Connection& connection);
  void Drop(uint64_t id);

  FdWatcher& watcher_;
  UniqueFd listening_socket_;
  FdWatcher::Watch listen_watch_;
  Handlers handlers_;
  std::map<uint64_t, Connection> connections_;
  uint64_t last_id_ = 0;
};

}  // namespace kata::sandbox
