// ReadySockets: the sockets to which programs of containers say that their service is ready (sd_notify(3)).
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"

namespace kata::agent {

// Loop thread only. Who sends is hostile: of all that comes the first ready line alone is kept, and each
// socket is read by a thread of its own. Closing it, or a message with descriptors, can take as long as a
// container likes: a connection among them may linger (socket(7), SO_LINGER).
class ReadySockets {
 public:
  using ReadyCallback = std::move_only_function<void(const std::string& line)>;

  // `loop` is borrowed.
  explicit ReadySockets(EventLoop& loop) : loop_(loop) {}
  ReadySockets(const ReadySockets&) = delete;
  ReadySockets& operator=(const ReadySockets&) = delete;
  ~ReadySockets() { Clear(); }

  // Makes the socket of a container, kNotifySocketName in a directory and file system of its own.
  // kAlreadyExists for the second one.
  Status Listen(const std::string& container_id);
  // Calls back, once, when the container is ready. Of several only the last one to ask gets the answer.
  // kNotFound for a container without a socket.
  Status Await(const std::string& container_id, uint64_t connection_id, ReadyCallback callback);
  // Success also for a container without a socket; whoever waits is dropped.
  void Remove(const std::string& container_id);
  void Clear();
  void DropConnection(uint64_t connection_id);

 private:
  struct Entry {
    Entry(EventLoop& loop, std::string path) : directory(std::move(path)), words(loop.context()) {}
    const std::string directory;
    // What the thread has found. Its end tells the thread to stop.
    asio::posix::stream_descriptor words;
    std::string line;  // empty: not ready yet
    uint64_t connection_id = 0;
    ReadyCallback callback;
  };
  void AwaitWord(const std::shared_ptr<Entry>& entry);

  EventLoop& loop_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

}  // namespace kata::agent
