#include "sandbox/container_events.h"

#include <system_error>
#include <utility>

namespace kata::sandbox {

ContainerEvents::~ContainerEvents() {
  // Nobody waits for what does not exist any more.
  snapshot_.stopped = true;
  Deliver();
}

void ContainerEvents::AddOomKill() {
  ++snapshot_.oom_kills;
  Deliver();
}

void ContainerEvents::SetStopped() {
  snapshot_.stopped = true;
  Deliver();
}

void ContainerEvents::SetAwaitsReady() {
  snapshot_.awaits_ready = true;
}

void ContainerEvents::SetReady(std::string line) {
  snapshot_.awaits_ready = false;
  snapshot_.ready_line = std::move(line);
  Deliver();
}

void ContainerEvents::Wait(uint64_t known, std::chrono::milliseconds timeout, Callback callback) {
  WaitFor([known](const Snapshot& now) { return now.stopped || now.oom_kills > known; }, timeout,
          std::move(callback));
}

void ContainerEvents::WaitReady(std::chrono::milliseconds timeout, Callback callback) {
  WaitFor([](const Snapshot& now) { return now.stopped || !now.awaits_ready; }, timeout, std::move(callback));
}

void ContainerEvents::WaitFor(Condition condition, std::chrono::milliseconds timeout, Callback callback) {
  if (condition(snapshot_)) {
    callback(snapshot_);
    return;
  }
  auto waiter = std::make_shared<Waiter>(
      Waiter{std::move(condition), std::make_unique<asio::steady_timer>(loop_.context(), timeout),
             std::move(callback)});
  waiters_.push_back(waiter);
  // A waiter that is in the list has not been answered, and the list lives in this object.
  waiter->timer->async_wait([this, weak = std::weak_ptr(waiter)](const std::error_code& error) {
    const auto waiter = weak.lock();
    if (error || !waiter || !waiter->callback) return;
    waiters_.remove(waiter);
    std::exchange(waiter->callback, nullptr)(snapshot_);
  });
}

void ContainerEvents::Deliver() {
  std::list<std::shared_ptr<Waiter>> ready;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    const auto next = std::next(it);
    if ((*it)->condition(snapshot_)) ready.splice(ready.end(), waiters_, it);
    it = next;
  }
  for (const std::shared_ptr<Waiter>& waiter : ready) {
    waiter->timer->cancel();
    std::exchange(waiter->callback, nullptr)(snapshot_);
  }
}

}  // namespace kata::sandbox
