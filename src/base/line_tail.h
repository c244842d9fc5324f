// What is kept of text that another program writes: the last lines, bounded, and one printable line of them
// for an error text.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace kata {

using LineCallback = std::function<void(std::string_view line)>;

// Splits a byte stream into lines and keeps the last ones. Not thread safe.
class LineTail {
 public:
  // Lines are cut to `max_line_bytes`; the oldest are dropped beyond `max_bytes` or `max_lines`.
  LineTail(size_t max_lines, size_t max_line_bytes, size_t max_bytes)
      : max_lines_(max_lines), max_line_bytes_(max_line_bytes), max_bytes_(max_bytes) {}

  // Calls `on_line` for each line that is complete now: without its line end, control characters removed but
  // for tabs. Empty lines are dropped.
  void Append(std::string_view bytes, const LineCallback& on_line);
  // Treats what is there of an unfinished line as a line.
  void Finish(const LineCallback& on_line);

  const std::deque<std::string>& lines() const { return lines_; }
  // The last lines that `accept` takes, at most three, as one printable line; empty when there are none.
  std::string Summary(const std::function<bool(std::string_view line)>& accept) const;

 private:
  const size_t max_lines_;
  const size_t max_line_bytes_;
  const size_t max_bytes_;
  std::deque<std::string> lines_;
  size_t bytes_ = 0;
  std::string partial_;
};

// The kernel's time stamp, "[    1.234567] ", says nothing to the reader of an error.
std::string_view WithoutTimestamp(std::string_view line);

// A program's standard error. Not thread safe.
class ErrorOutput {
 public:
  void Append(std::string_view bytes, const LineCallback& on_line = nullptr) { tail_.Append(bytes, on_line); }
  void Finish(const LineCallback& on_line = nullptr) { tail_.Finish(on_line); }
  // The last lines that are no warnings, as one printable line; empty when there are none.
  std::string Summary() const;

 private:
  LineTail tail_{1000, 4u << 10, 64u << 10};
};

}  // namespace kata
