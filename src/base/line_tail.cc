#include "base/line_tail.h"

#include <utility>

#include "base/utf8.h"

namespace kata {
namespace {

constexpr size_t kSummaryLines = 3;
constexpr size_t kSummaryLineBytes = 400;
constexpr std::string_view kLineSeparator = " | ";

bool IsAsciiControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

}  // namespace

std::string_view WithoutTimestamp(std::string_view line) {
  if (!line.starts_with('[')) return line;
  const size_t end = line.find("] ");
  if (end == std::string_view::npos) return line;
  const std::string_view stamp = line.substr(1, end - 1);
  return stamp.find_first_not_of(" .0123456789") == std::string_view::npos ? line.substr(end + 2) : line;
}

void LineTail::Append(std::string_view bytes, const LineCallback& on_line) {
  for (const char c : bytes) {
    if (c == '\n') {
      Finish(on_line);
    } else if (partial_.size() < max_line_bytes_ && (!IsAsciiControl(c) || c == '\t')) {
      partial_ += c;
    }
  }
}

void LineTail::Finish(const LineCallback& on_line) {
  if (partial_.empty()) return;
  bytes_ += partial_.size();
  lines_.push_back(std::move(partial_));
  partial_.clear();
  while (lines_.size() > max_lines_ || bytes_ > max_bytes_) {
    bytes_ -= lines_.front().size();
    lines_.pop_front();
  }
  if (on_line && !lines_.empty()) on_line(lines_.back());
}

std::string LineTail::Summary(const std::function<bool(std::string_view line)>& accept) const {
  std::deque<std::string> chosen;
  for (auto line = lines_.rbegin(); line != lines_.rend() && chosen.size() < kSummaryLines; ++line) {
    if (!accept(*line)) continue;
    std::string text = ToPlainLine(WithoutTimestamp(*line), kSummaryLineBytes);
    if (!text.empty()) chosen.push_front(std::move(text));
  }
  std::string joined;
  for (const std::string& line : chosen) {
    if (!joined.empty()) joined += kLineSeparator;
    joined += line;
  }
  return joined;
}

std::string ErrorOutput::Summary() const {
  return tail_.Summary([](std::string_view line) { return !line.contains("warning: "); });
}

}  // namespace kata
