#include "base/event_loop.h"

#include <memory>

namespace kata {

void EventLoop::Run() {
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
    thread_id_ = std::this_thread::get_id();
  }
  context_.run();
  const std::lock_guard lock(mutex_);
  running_ = false;
  thread_id_ = std::thread::id();
  changed_.notify_all();
}

void EventLoop::RunAndWait(std::function<void()> function) {
  if (IsLoopThread()) {
    function();
    return;
  }
  struct Job {
    std::function<void()> function;
    bool taken = false;
    bool done = false;
  };
  const auto job = std::make_shared<Job>();
  job->function = std::move(function);

  std::unique_lock lock(mutex_);
  if (running_) {
    Post([this, job] {
      {
        const std::lock_guard job_lock(mutex_);
        if (std::exchange(job->taken, true)) return;
      }
      job->function();
      const std::lock_guard job_lock(mutex_);
      job->done = true;
      changed_.notify_all();
    });
    changed_.wait(lock, [&] { return job->done || (!running_ && !job->taken); });
  }
  if (std::exchange(job->taken, true)) return;
  // Under the lock, so that the loop cannot begin to run meanwhile; this thread stands in for its thread.
  thread_id_ = std::this_thread::get_id();
  job->function();
  thread_id_ = std::thread::id();
}

}  // namespace kata
