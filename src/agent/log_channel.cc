#include "agent/log_channel.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/version.h"

namespace kata::agent {
namespace {

std::string_view ShortLevel(log::Level level) {
  switch (level) {
    case log::Level::kTrace:
      return "TRCE";
    case log::Level::kDebug:
      return "DEBG";
    case log::Level::kInfo:
      return "INFO";
    case log::Level::kWarning:
      return "WARN";
    case log::Level::kError:
      return "ERRO";
    case log::Level::kCritical:
      return "CRIT";
  }
  return "INFO";
}

class LogStreamSink : public log::Sink {
 public:
  explicit LogStreamSink(std::shared_ptr<LogStream> stream) : stream_(std::move(stream)) {}
  void Write(const log::Record& record) override { stream_->WriteLine(FormatAgentRecord(record)); }

 private:
  std::shared_ptr<LogStream> stream_;
};

}  // namespace

std::string FormatAgentRecord(const log::Record& record) {
  const std::array<std::pair<std::string_view, std::string>, 8> standard{{
      {"msg", std::string(record.message)},
      {"level", std::string(ShortLevel(record.level))},
      {"ts", log::FormatTime(record.time)},
      {"subsystem", "agent"},
      {"version", std::string(Version())},
      {"pid", fmt::format("{}", getpid())},
      {"source", "agent"},
      {"name", "kata-agent"},
  }};
  std::string line = "{";
  const auto add = [&line](std::string_view key, std::string_view value) {
    if (line.size() > 1) line += ',';
    line += log::JsonQuote(key);
    line += ':';
    line += log::JsonQuote(value);
  };
  for (const auto& [key, value] : standard) {
    bool replaced = false;
    for (const log::Field& field : record.fields) replaced |= field.key == key;
    if (!replaced) add(key, value);
  }
  for (const log::Field& field : record.fields) add(field.key, field.value);
  line += "}\n";
  return line;
}

void LogStream::Attach(UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  fd_ = std::move(fd);
  Flush();
}

void LogStream::WriteLine(const std::string& line) {
  const std::lock_guard lock(mutex_);
  Flush();
  if (dropped_ > dropped_reported_ && backlog_.size() + line.size() + 256 <= kMaxBacklogBytes) {
    const std::string count = fmt::format("{}", dropped_ - dropped_reported_);
    dropped_reported_ = dropped_;
    const std::vector<log::Field> fields{{"count", count}};
    backlog_ += FormatAgentRecord(
        {std::chrono::system_clock::now(), log::Level::kWarning, "log records were dropped", fields});
  }
  if (backlog_.size() + line.size() > kMaxBacklogBytes) {
    ++dropped_;
    return;
  }
  backlog_ += line;
  Flush();
}

uint64_t LogStream::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void LogStream::Flush() {
  while (fd_.valid() && !backlog_.empty()) {
    const ssize_t written = write(fd_.get(), backlog_.data(), backlog_.size());
    if (written > 0) {
      backlog_.erase(0, static_cast<size_t>(written));
      continue;
    }
    if (written < 0 && errno == EINTR) continue;
    // A reader that has gone leaves the backlog for the next one.
    if (written < 0 && errno != EAGAIN) fd_.Reset();
    return;
  }
  if (backlog_.empty()) backlog_.shrink_to_fit();
}

std::unique_ptr<log::Sink> MakeLogStreamSink(std::shared_ptr<LogStream> stream) {
  return std::make_unique<LogStreamSink>(std::move(stream));
}

}  // namespace kata::agent
