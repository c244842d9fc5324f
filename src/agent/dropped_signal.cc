// The rule is the kernel's sig_ignored(): not dropped is what the main thread blocks, or what it has
// unblocked for the time of rt_sigtimedwait(2) only. `SigBlk` lacks the second, which is why the system call
// is looked at.
#include "agent/dropped_signal.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>

#include "base/file.h"

namespace kata::agent {
namespace {

// Also as 32-bit programs call it; other programs have no call of these numbers that waits.
constexpr int64_t kWaits[] = {SYS_rt_sigtimedwait, 177, 421};

std::optional<std::string_view> FindLine(std::string_view status, std::string_view key) {
  const std::string start = fmt::format("\n{}:\t", key);
  const size_t position = status.find(start);
  if (position == std::string_view::npos) return std::nullopt;
  const std::string_view rest = status.substr(position + start.size());
  return rest.substr(0, rest.find('\n'));
}

std::optional<bool> HasSignal(std::string_view status, std::string_view key, int signal) {
  const std::optional<std::string_view> digits = FindLine(status, key);
  if (!digits) return std::nullopt;
  uint64_t mask = 0;
  const auto parsed = std::from_chars(digits->data(), digits->data() + digits->size(), mask, 16);
  if (parsed.ec != std::errc()) return std::nullopt;
  return (mask >> (signal - 1) & 1) != 0;
}

// The process has a number in each pid namespace that it is in, the reader's first.
bool IsFirstOfItsNamespace(std::string_view status) {
  const std::optional<std::string_view> numbers = FindLine(status, "NSpid");
  return numbers && numbers->ends_with("\t1");
}

// Unless it waits for the signal with rt_sigtimedwait(2).
bool MayDropSignal(std::string_view status, int signal) {
  if (!IsFirstOfItsNamespace(status)) return false;
  for (const char* key : {"SigCgt", "SigIgn", "SigBlk"}) {
    if (HasSignal(status, key, signal).value_or(true)) return false;
  }
  return true;
}

// nullopt: the process runs, or is none any more.
std::optional<int64_t> SystemCall(std::string_view text) {
  int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

bool DropsSignal(std::string_view syscall_before, std::string_view status, std::string_view syscall_after,
                 int signal) {
  if (!MayDropSignal(status, signal)) return false;
  for (const std::string_view text : {syscall_before, syscall_after}) {
    const std::optional<int64_t> number = SystemCall(text);
    if (!number || std::ranges::find(kWaits, *number) != std::end(kWaits)) return false;
  }
  return true;
}

bool DropsSignal(pid_t pid, int signal) {
  const std::string directory = fmt::format("/proc/{}", pid);
  const Result<std::string> first = ReadFile(directory + "/status");
  if (!first || !MayDropSignal(*first, signal)) return false;
  const Result<std::string> before = ReadFile(directory + "/syscall");
  const Result<std::string> status = ReadFile(directory + "/status");
  const Result<std::string> after = ReadFile(directory + "/syscall");
  return before && status && after && DropsSignal(*before, *status, *after, signal);
}

}  // namespace kata::agent
