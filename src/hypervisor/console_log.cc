#include "hypervisor/console_log.h"

#include <algorithm>

namespace kata::hypervisor {
namespace {

constexpr size_t kSummaryLines = 3;
constexpr size_t kSummaryLineBytes = 400;
constexpr std::string_view kLineSeparator = " | ";

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

// The kernel's time stamp, "[    1.234567] ", says nothing to the reader of an error.
std::string_view WithoutTimestamp(std::string_view line) {
  if (!line.starts_with('[')) return line;
  const size_t end = line.find("] ");
  if (end == std::string_view::npos) return line;
  const std::string_view stamp = line.substr(1, end - 1);
  return stamp.find_first_not_of(" .0123456789") == std::string_view::npos ? line.substr(end + 2) : line;
}

template <typename Accept>
std::string JoinLast(const std::deque<std::string>& lines, const Accept& accept) {
  std::deque<std::string> chosen;
  for (auto line = lines.rbegin(); line != lines.rend() && chosen.size() < kSummaryLines; ++line) {
    if (!accept(*line)) continue;
    std::string text = PrintableLine(WithoutTimestamp(*line), kSummaryLineBytes);
    if (!text.empty()) chosen.push_front(std::move(text));
  }
  std::string joined;
  for (const std::string& line : chosen) {
    if (!joined.empty()) joined += kLineSeparator;
    joined += line;
  }
  return joined;
}

}  // namespace

std::string PrintableLine(std::string_view text, size_t limit) {
  std::string printable;
  for (const char c : text) {
    if (printable.size() == limit) break;
    if (c == '\t') {
      printable += ' ';
    } else if (!IsControl(c)) {
      printable += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    }
  }
  return printable;
}

void LineTail::Append(std::string_view bytes, const std::function<void(std::string_view line)>& on_line) {
  for (const char c : bytes) {
    if (c == '\n') {
      Finish(on_line);
    } else if (partial_.size() < max_line_bytes_ && (!IsControl(c) || c == '\t')) {
      partial_ += c;
    }
  }
}

void LineTail::Finish(const std::function<void(std::string_view line)>& on_line) {
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

void ConsoleLog::Append(std::string_view bytes, const std::function<void(std::string_view line)>& on_line) {
  tail_.Append(bytes, [&](std::string_view line) {
    Inspect(line);
    if (on_line) on_line(line);
  });
}

void ConsoleLog::Finish(const std::function<void(std::string_view line)>& on_line) {
  tail_.Finish([&](std::string_view line) {
    Inspect(line);
    if (on_line) on_line(line);
  });
}

// The texts are those of init/main.c and kernel/panic.c. The first panic is the cause, later ones its
// consequences.
void ConsoleLog::Inspect(std::string_view line) {
  const std::string_view text = WithoutTimestamp(line);
  if (init_failure_.empty() &&
      (text.starts_with("Failed to execute ") || text.starts_with("check access for rdinit="))) {
    init_failure_ = PrintableLine(text, kSummaryLineBytes);
  }
  if (panic_.empty() && text.starts_with("Kernel panic - not syncing")) {
    panic_ = PrintableLine(text, kSummaryLineBytes);
  }
}

std::string ConsoleLog::Summary() const {
  if (!panic_.empty()) {
    return init_failure_.empty() ? panic_ : init_failure_ + std::string(kLineSeparator) + panic_;
  }
  return JoinLast(tail_.lines(), [](const std::string&) { return true; });
}

void ErrorOutput::Append(std::string_view bytes) {
  tail_.Append(bytes, nullptr);
}

void ErrorOutput::Finish() {
  tail_.Finish(nullptr);
}

std::string ErrorOutput::Summary() const {
  return JoinLast(tail_.lines(),
                  [](const std::string& line) { return line.find("warning: ") == std::string::npos; });
}

}  // namespace kata::hypervisor
