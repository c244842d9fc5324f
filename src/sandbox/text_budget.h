// TextBudget: how much of what a guest says is written on the host. A guest can talk without end, and the
// files that it ends up in, as an engine's log of a container in /run, lie in the host's memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

namespace kata::sandbox {

// Not thread safe.
class TextBudget {
 public:
  using Clock = std::chrono::steady_clock;
  // What a boot and the errors of a bad day need, and 22 MB a day.
  static constexpr size_t kBurstBytes = 1u << 20;
  static constexpr size_t kBytesPerSecond = 256;
  // For time, level, fields and quotes that a record adds to a line.
  static constexpr size_t kRecordBytes = 256;

  explicit TextBudget(Clock::time_point now = Clock::now()) : filled_(now) {}

  // Whether a line of `bytes` may be written now.
  bool Take(size_t bytes, Clock::time_point now = Clock::now()) {
    Fill(now);
    if (left_ < bytes + kRecordBytes) {
      ++refused_;
      return false;
    }
    left_ -= bytes + kRecordBytes;
    return true;
  }
  // How many lines were refused since the last call.
  size_t TakeRefused() { return std::exchange(refused_, 0); }

 private:
  void Fill(Clock::time_point now) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now - filled_);
    if (seconds.count() <= 0) return;
    filled_ += seconds;
    const auto whole = static_cast<size_t>(std::min<long long>(seconds.count(), kBurstBytes));
    left_ = std::min(kBurstBytes, left_ + whole * kBytesPerSecond);
  }

  Clock::time_point filled_;
  size_t left_ = kBurstBytes;
  size_t refused_ = 0;
};

}  // namespace kata::sandbox
