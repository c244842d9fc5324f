// ContainerEvents: what happens to a container that somebody may wait for.
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "base/event_loop.h"

namespace kata::sandbox {

// Everything on the loop thread.
class ContainerEvents {
 public:
  struct Snapshot {
    uint64_t oom_kills = 0;  // how often a process was killed for lack of memory
    bool stopped = false;
    bool awaits_ready = false;  // it may say yet that it is ready
    std::string ready_line;     // by which it has said so; else empty
  };
  using Callback = std::function<void(const Snapshot&)>;

  // `loop` is borrowed.
  explicit ContainerEvents(EventLoop& loop) : loop_(loop) {}
  ~ContainerEvents();

  void AddOomKill();
  void SetStopped();
  // Somebody listens for its word that it is ready.
  void SetAwaitsReady();
  // It has said so; empty: nobody listens any more.
  void SetReady(std::string line);
  // `callback` runs once: when there are more than `known` OOM kills, when the container has stopped, or
  // after `timeout`; at once where that is so already.
  void Wait(uint64_t known, std::chrono::milliseconds timeout, Callback callback);
  // As Wait, when the container has said that it is ready, or will not.
  void WaitReady(std::chrono::milliseconds timeout, Callback callback);

 private:
  using Condition = std::function<bool(const Snapshot&)>;
  struct Waiter {
    Condition condition;
    std::unique_ptr<asio::steady_timer> timer;
    Callback callback;
  };
  void WaitFor(Condition condition, std::chrono::milliseconds timeout, Callback callback);
  void Deliver();

  EventLoop& loop_;
  Snapshot snapshot_;
  std::list<std::shared_ptr<Waiter>> waiters_;
};

}  // namespace kata::sandbox
