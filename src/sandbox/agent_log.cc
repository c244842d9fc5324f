// AgentLog: lines from the guest to log records.
#include "sandbox/agent_log.h"

#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/utf8.h"

namespace kata::sandbox {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxMessageBytes = 4u << 10;
constexpr size_t kMaxFields = 16;
constexpr size_t kMaxKeyBytes = 64;
constexpr size_t kMaxValueBytes = 512;

// slog's short names, which Kata's agent writes, and the usual long ones.
log::Level LevelOf(std::string_view name) {
  struct Entry {
    std::string_view name;
    log::Level level;
  };
  static constexpr Entry kLevels[] = {
      {"TRCE", log::Level::kTrace},      {"DEBG", log::Level::kDebug},  {"INFO", log::Level::kInfo},
      {"WARN", log::Level::kWarning},    {"ERRO", log::Level::kError},  {"CRIT", log::Level::kCritical},
      {"trace", log::Level::kTrace},     {"debug", log::Level::kDebug}, {"info", log::Level::kInfo},
      {"warning", log::Level::kWarning}, {"error", log::Level::kError}, {"critical", log::Level::kCritical},
  };
  for (const Entry& entry : kLevels) {
    if (entry.name == name) return entry.level;
  }
  return log::Level::kInfo;
}

std::string ValueText(const Json& value) {
  if (value.is_string()) return ToPlainLine(value.get_ref<const std::string&>(), kMaxValueBytes);
  return ToPlainLine(value.dump(-1, ' ', false, Json::error_handler_t::replace), kMaxValueBytes);
}

// Members that say nothing that the host's record does not say itself.
bool IsImplied(std::string_view key) {
  return key == "msg" || key == "level" || key == "source" || key == "name" || key == "version";
}

}  // namespace

void LineSplitter::Feed(std::string_view data, std::vector<std::string>& lines) {
  while (!data.empty()) {
    const size_t end = data.find('\n');
    const std::string_view part = data.substr(0, end);
    line_.append(part.substr(0, kMaxLineBytes - std::min(kMaxLineBytes, line_.size())));
    if (end == std::string_view::npos) return;
    lines.push_back(std::move(line_));
    line_.clear();
    data.remove_prefix(end + 1);
  }
}

AgentLogRecord ParseAgentLogLine(std::string_view line) {
  AgentLogRecord record;
  record.fields.emplace_back("source", "agent");
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("msg") || !json["msg"].is_string()) {
    record.message = ToPlainLine(line, kMaxMessageBytes);
    return record;
  }
  record.message = ToPlainLine(json["msg"].get_ref<const std::string&>(), kMaxMessageBytes);
  if (json.contains("level") && json["level"].is_string()) {
    record.level = LevelOf(json["level"].get_ref<const std::string&>());
  }
  for (const auto& [key, value] : json.items()) {
    if (record.fields.size() >= kMaxFields) break;
    if (IsImplied(key)) continue;
    // The guest's clock and pids must not be taken for the host's.
    const std::string name = key == "ts" || key == "pid" ? "guest-" + key : ToPlainLine(key, kMaxKeyBytes);
    record.fields.emplace_back(name, ValueText(value));
  }
  return record;
}

namespace {

// Kept alive by its pending read.
class LogReader : public std::enable_shared_from_this<LogReader> {
 public:
  explicit LogReader(EventLoop& loop) : channel_(loop.context()) {}

  Status Assign(UniqueFd fd) {
    std::error_code error;
    channel_.assign(fd.get(), error);
    if (error) return MakeError(Code::kInternal, "read the agent's log: {}", error.message());
    (void)fd.Release();  // asio's descriptor owns it now
    return {};
  }

  void Read() {
    channel_.async_read_some(asio::buffer(buffer_),
                             [self = shared_from_this()](const std::error_code& error, size_t count) {
                               if (error) return;
                               self->OnData(std::string_view(self->buffer_.data(), count));
                               self->Read();
                             });
  }

 private:
  void OnData(std::string_view data) {
    std::vector<std::string> lines;
    splitter_.Feed(data, lines);
    for (const std::string& line : lines) {
      if (line.empty() || !Admit()) continue;
      AgentLogRecord record = ParseAgentLogLine(line);
      log::Write(record.level, record.message, std::move(record.fields));
    }
  }

  // Counts lines by the second; what exceeds the limit is dropped and told once.
  bool Admit() {
    const auto now = std::chrono::steady_clock::now();
    if (now - window_start_ >= std::chrono::seconds(1)) {
      if (window_lines_ > kMaxAgentLogLinesPerSecond) {
        log::Warning("log lines of the agent were dropped",
                     {{"source", "agent"}, {"lines", window_lines_ - kMaxAgentLogLinesPerSecond}});
      }
      window_start_ = now;
      window_lines_ = 0;
    }
    return ++window_lines_ <= kMaxAgentLogLinesPerSecond;
  }

  asio::posix::stream_descriptor channel_;
  std::array<char, 4096> buffer_;
  LineSplitter splitter_;
  std::chrono::steady_clock::time_point window_start_{};
  long window_lines_ = 0;
};

}  // namespace

Status ForwardAgentLog(EventLoop& loop, UniqueFd channel) {
  auto reader = std::make_shared<LogReader>(loop);
  TRY(reader->Assign(std::move(channel)));
  loop.Post([reader] { reader->Read(); });
  return {};
}

}  // namespace kata::sandbox
