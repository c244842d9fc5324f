// Deadline: the moment by which a wait must have ended. Every wait in this code takes one.
#pragma once

#include <algorithm>
#include <chrono>

namespace kata {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  // A duration that leads past the end of the clock means the end of the clock.
  static Deadline After(std::chrono::nanoseconds duration) {
    const Clock::time_point now = Clock::now();
    if (duration >= Clock::time_point::max() - now) return Deadline(Clock::time_point::max());
    return Deadline(now + std::chrono::duration_cast<Clock::duration>(duration));
  }
  static Deadline At(Clock::time_point time) { return Deadline(time); }

  Clock::time_point time() const { return time_; }
  bool Passed() const { return Clock::now() >= time_; }
  std::chrono::nanoseconds Remaining() const {
    return std::max(std::chrono::nanoseconds(0),
                    std::chrono::duration_cast<std::chrono::nanoseconds>(time_ - Clock::now()));
  }
  // For poll(2): rounded up, so that a wait does not end just before its deadline; at most INT_MAX.
  int RemainingPollMs() const {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(Remaining()).count();
    return static_cast<int>(std::min<long long>(ms, 0x7fffffff));
  }

 private:
  explicit Deadline(Clock::time_point time) : time_(time) {}
  Clock::time_point time_;
};

}  // namespace kata
