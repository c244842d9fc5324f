// ContainerEvents: what happens to a container that somebody may wait for.
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "base/event_loop.h"

namespace kata::sandbox {

// Everything on the loop thread.
class ContainerEvents {
 public:
  struct Snapshot {
    uint64_t oom_kills = 0;  // how often a process was killed for lack of memory
    bool stopped = false;
  };
  using Callback = std::function<void(const Snapshot&)>;

  // `loop` is borrowed.
  explicit ContainerEvents(EventLoop& loop) : loop_(loop) {}
  ~ContainerEvents();

  void AddOomKill();
  void SetStopped();
  // `callback` runs once: when there are more than `known` OOM kills, when the container has stopped, or
  // after `timeout`; at once where that is so already.
  void Wait(uint64_t known, std::chrono::milliseconds timeout, Callback callback);

 private:
  struct Waiter {
    uint64_t known;
    std::unique_ptr<asio::steady_timer> timer;
    Callback callback;
  };
  bool IsNews(uint64_t known) const { return snapshot_.stopped || snapshot_.oom_kills > known; }
  void Deliver();

  EventLoop& loop_;
  Snapshot snapshot_;
  std::list<std::shared_ptr<Waiter>> waiters_;
};

}  // namespace kata::sandbox
