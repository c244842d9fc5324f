// ScopeExit: runs a function when the scope is left, unless released.
#pragma once

#include <utility>

namespace kata {

template <typename F>
class [[nodiscard]] ScopeExit {
 public:
  explicit ScopeExit(F function) : function_(std::move(function)) {}
  ScopeExit(const ScopeExit&) = delete;
  ScopeExit& operator=(const ScopeExit&) = delete;
  ~ScopeExit() {
    if (armed_) function_();
  }
  // The function will not run any more.
  void Release() { armed_ = false; }

 private:
  F function_;
  bool armed_ = true;
};

}  // namespace kata
