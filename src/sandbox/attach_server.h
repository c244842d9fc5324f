// AttachServer: the sandbox server's side of attach.sock (attach.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/acceptor.h"
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

  // `loop` and `watcher` are borrowed. Accepts connections until destroyed, at most `max_connections` at
  // once; further ones wait in the socket's backlog until one of those has ended.
  static Result<std::unique_ptr<AttachServer>> Create(EventLoop& loop, FdWatcher& watcher,
                                                      UniqueFd listening_socket, Handlers handlers,
                                                      size_t max_connections = 1024);

 private:
  struct Connection {
    Acceptor::Place place;
    UniqueFd socket;
    FdWatcher::Watch watch;
    bool attached = false;
    bool committed = false;
  };

  AttachServer(FdWatcher& watcher, Handlers handlers) : watcher_(watcher), handlers_(std::move(handlers)) {}

  void Add(UniqueFd socket, Acceptor::Place place);
  void WaitForMessage(uint64_t id);
  void OnReadable(uint64_t id);
  // Whether the connection goes on.
  bool Receive(uint64_t id, Connection& connection);
  void Drop(uint64_t id);

  FdWatcher& watcher_;
  Handlers handlers_;
  std::map<uint64_t, Connection> connections_;
  std::unique_ptr<Acceptor> acceptor_;
  uint64_t last_id_ = 0;
};

}  // namespace kata::sandbox
