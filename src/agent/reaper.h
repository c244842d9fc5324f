// The reaper: waits for all children of the agent. As PID 1 it inherits every orphan of the guest besides its
// own.
#pragma once

#include <sys/types.h>

#include <asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "base/event_loop.h"
#include "base/process.h"

namespace kata::agent {

// A watched child is waited for by its pidfd and its status delivered exactly once. Children that nobody
// watches are orphans and are reaped, except while somebody holds a Hold: code on a worker thread may then
// have children that it has not handed over yet or waits for itself.
//
// Loop thread only, except for Hold.
class Reaper {
 public:
  using ExitCallback = std::move_only_function<void(ExitStatus)>;

  // `loop` is borrowed and must outlive the reaper. Blocks SIGCHLD, which threads started later inherit; must
  // be called before there are any.
  explicit Reaper(EventLoop& loop);
  ~Reaper();

  // Takes over `child`; `callback` runs on the loop thread when it has ended. An error means that the child
  // cannot be watched; it is killed then.
  Status Watch(ChildProcess child, ExitCallback callback);

  // Keeps the reaper off unknown children. Any thread may make and drop one.
  class Hold {
   public:
    explicit Hold(Reaper& reaper);
    Hold(Hold&& other) noexcept : reaper_(std::exchange(other.reaper_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    Reaper* reaper_;
  };

 private:
  struct Child;
  void AwaitSignal();
  void AwaitExit(const std::shared_ptr<Child>& child);
  void TryFinish(const std::shared_ptr<Child>& child);
  // Reaps the orphans among the children that have ended.
  void Sweep();

  EventLoop& loop_;
  asio::posix::stream_descriptor signals_;  // signalfd(2)
  std::map<pid_t, std::shared_ptr<Child>> children_;
  std::mutex holds_mutex_;
  int holds_ = 0;
};

}  // namespace kata::agent
