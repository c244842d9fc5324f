// AttachServer: the sandbox server's side of attach.sock (attach.h).
#pragma once

#include <asio/steady_timer.hpp>
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

  // `loop` and `watcher` are borrowed. Accepts connections until destroyed, at most `max_connections` at
  // once; further ones wait in the socket's backlog until one of those has ended.
  static Result<std::unique_ptr<AttachServer>> Create(EventLoop& loop, FdWatcher& watcher,
                                                      UniqueFd listening_socket, Handlers handlers,
                                                      size_t max_connections = 1024);

 private:
  struct Connection {
    UniqueFd socket;
    FdWatcher::Watch watch;
    bool attached = false;
    bool committed = false;
  };

  AttachServer(EventLoop& loop, FdWatcher& watcher, UniqueFd listening_socket, Handlers handlers,
               size_t max_connections)
      : loop_(loop),
        watcher_(watcher),
        listening_socket_(std::move(listening_socket)),
        handlers_(std::move(handlers)),
        max_connections_(max_connections) {}

  // Unless it does already, or there is no room.
  Status WaitForConnection();
  void Accept();
  void AcceptLater();
  void GoOn();
  void WaitForMessage(uint64_t id);
  void OnReadable(uint64_t id);
  // Whether the connection goes on.
  bool Receive(uint64_t id, Connection& connection);
  void Drop(uint64_t id);

  EventLoop& loop_;
  FdWatcher& watcher_;
  UniqueFd listening_socket_;
  FdWatcher::Watch listen_watch_;
  std::shared_ptr<asio::steady_timer> pause_;
  bool waiting_ = false;  // for a connection, or for the pause to be over
  Handlers handlers_;
  const size_t max_connections_;
  std::map<uint64_t, Connection> connections_;
  uint64_t last_id_ = 0;
};

}  // namespace kata::sandbox
