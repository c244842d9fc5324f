// Jobs: steps that block run on a worker thread, what follows runs on the loop thread again.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>

#include "agent/reaper.h"
#include "base/event_loop.h"
#include "base/result.h"

namespace kata::agent {

// What a job leaves to be done on the loop thread.
using Completion = std::move_only_function<void()>;
// Runs on a worker; must not touch what belongs to the loop thread.
using Job = std::move_only_function<Completion()>;

// What `function` returns, a Result; a stray exception as kInternal. For jobs whose completion must run in
// any case.
template <typename F>
auto CatchExceptions(F function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& e) {
    return MakeError(Code::kInternal, "exception: {}", e.what());
  }
}

// Loop thread only.
class JobRunner {
 public:
  // All borrowed; they must outlive the runner and its jobs.
  JobRunner(EventLoop& loop, WorkerPool& workers, Reaper& reaper)
      : loop_(loop), workers_(workers), reaper_(reaper) {}

  // Runs `job`, then its completion on the loop thread; children of the job are kept from the reaper until
  // the completion has run. A stray exception ends the job without completion, so that the responder it owns
  // answers "internal error". `finally`, if any, runs on the loop thread in every case, last.
  void Run(Job job, Completion finally = {});

 private:
  EventLoop& loop_;
  WorkerPool& workers_;
  Reaper& reaper_;
};

// Jobs that must run one after the other, e.g. all that touch one container. Loop thread only. Destroying the
// queue drops jobs that have not begun.
class JobQueue {
 public:
  explicit JobQueue(JobRunner& runner) : state_(std::make_shared<State>(State{runner, {}, false})) {}
  void Add(Job job);

 private:
  struct State {
    JobRunner& runner;
    std::deque<Job> waiting;
    bool running;
  };
  static void RunNext(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace kata::agent
