// EventLoop: one thread that runs an asio::io_context, and WorkerPool for the steps that block.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace kata {

// Owns the context; whoever calls Run() is the loop thread. State that belongs to a loop is touched by its
// thread only. Post(), RunAndWait() and Stop() may be called by any thread.
class EventLoop {
 public:
  EventLoop() : work_(asio::make_work_guard(context_)) {}
  asio::io_context& context() { return context_; }
  // Returns after Stop().
  void Run();
  void Stop() { context_.stop(); }
  // False when no thread runs the loop.
  bool IsLoopThread() const { return std::this_thread::get_id() == thread_id_; }
  template <typename F>
  void Post(F&& function) {
    asio::post(context_, std::forward<F>(function));
  }
  // Runs `function` once on the loop thread and returns after that. Runs it on the caller's thread when that
  // is the loop thread, or when no thread runs the loop (any more): then nothing else touches the loop's
  // state.
  void RunAndWait(std::function<void()> function);

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::atomic<std::thread::id> thread_id_{};
  std::mutex mutex_;
  std::condition_variable changed_;  // running_, or a job of RunAndWait
  bool running_ = false;
};

// An EventLoop that runs on a thread of its own from construction until destruction.
class EventLoopThread {
 public:
  EventLoopThread() : thread_([this] { loop_.Run(); }) {}
  ~EventLoopThread() {
    loop_.Stop();
    thread_.join();
  }
  EventLoop& loop() { return loop_; }

 private:
  EventLoop loop_;
  std::thread thread_;
};

// Threads for blocking work. A job must not wait for another job of the same pool.
class WorkerPool {
 public:
  explicit WorkerPool(size_t threads) : pool_(threads) {}
  // Waits for running jobs; queued ones that have not begun are dropped.
  ~WorkerPool() {
    pool_.stop();
    pool_.join();
  }
  template <typename F>
  void Post(F&& function) {
    asio::post(pool_, std::forward<F>(function));
  }

 private:
  asio::thread_pool pool_;
};

}  // namespace kata
