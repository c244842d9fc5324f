// FdWatcher: readiness of descriptors whose open file description belongs to somebody else.
//
// asio's own descriptor classes switch O_NONBLOCK on before they wait, and that flag sits in the open file
// description (open(2)): a user's terminal or the engine's end of a socket would change behind their backs.
// An epoll instance of our own waits without touching the flags; asio waits for that instance.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/result.h"

namespace kata::sandbox {

// Used and destroyed on the loop thread, or before the loop runs and after it has ended.
class FdWatcher {
 public:
  class Impl;

  // A wait under way; destroying it ends the wait without a call. Destroy it before the descriptor is closed.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    ~Watch() { Cancel(); }
    void Cancel();

   private:
    friend class FdWatcher;
    Watch(std::weak_ptr<Impl> watcher, uint64_t id) : watcher_(std::move(watcher)), id_(id) {}
    std::weak_ptr<Impl> watcher_;
    uint64_t id_ = 0;
  };

  // `loop` is borrowed and must outlive the watcher.
  static Result<std::unique_ptr<FdWatcher>> Create(EventLoop& loop);
  ~FdWatcher();

  using Callback = std::move_only_function<void(uint32_t events)>;
  // Calls `callback` once on the loop thread as soon as `fd` has one of `events` (EPOLLIN, EPOLLOUT), an
  // error or a hang-up. `fd` is borrowed and can be waited for once at a time. Fails for what epoll does not
  // support: regular files, which are always ready.
  Result<Watch> Once(int fd, uint32_t events, Callback callback);

 private:
  explicit FdWatcher(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata::sandbox
