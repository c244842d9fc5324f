#include "agent/jobs.h"

#include <exception>
#include <utility>

#include "base/log.h"

namespace kata::agent {
namespace {

Completion RunGuarded(Job job) {
  try {
    return job();
  } catch (const std::exception& e) {
    log::LogError("job ended by an exception", {{"error", e.what()}});
    return {};
  }
}

}  // namespace

void JobRunner::Run(Job job, Completion finally) {
  workers_.Post(
      [this, hold = Reaper::Hold(reaper_), job = std::move(job), finally = std::move(finally)]() mutable {
        Completion completion = RunGuarded(std::move(job));
        loop_.Post([hold = std::move(hold), completion = std::move(completion),
                    finally = std::move(finally)]() mutable {
          if (completion) completion();
          if (finally) finally();
        });
      });
}

void JobQueue::Add(Job job) {
  state_->waiting.push_back(std::move(job));
  if (!state_->running) RunNext(state_);
}

void JobQueue::RunNext(const std::shared_ptr<State>& state) {
  if (state->waiting.empty()) {
    state->running = false;
    return;
  }
  state->running = true;
  Job job = std::move(state->waiting.front());
  state->waiting.pop_front();
  state->runner.Run(std::move(job), [weak = std::weak_ptr(state)] {
    if (const std::shared_ptr<State> state = weak.lock()) RunNext(state);
  });
}

}  // namespace kata::agent
