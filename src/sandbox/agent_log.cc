// AgentLog: lines from the guest to log records.
#include "sandbox/agent_log.h"

#include <algorithm>
#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cctype>
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

// Names stand unquoted in records.
std::string FieldName(std::string_view key) {
  std::string name(key.substr(0, kMaxKeyBytes));
  std::replace_if(
      name.begin(), name.end(),
      [](unsigned char c) { return !std::isalnum(c) && c != '_' && c != '-' && c != '.'; }, '_');
  return name;
}

// Members that say nothing that the host's record does not say itself.
bool IsImplied(std::string_view key) {
  return key == "msg" || key == "level" || key == "source" || key == "name" || key == "version";
}

// Members whose names stand in the host's record for something of the host's: its clock, the server's pid,
// whose machine it is.
bool IsTheHosts(std::string_view key) {
  return key == "ts" || key == "pid" || key == "sandbox";
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
    const log::Level level = LevelOf(json["level"].get_ref<const std::string&>());
    record.level = std::min(level, log::Level::kWarning);
    if (level != record.level) record.fields.emplace_back("guest-level", log::LevelName(level));
  }
  for (const auto& [key, value] : json.items()) {
    if (record.fields.size() >= kMaxFields) break;
    if (IsImplied(key)) continue;
    record.fields.emplace_back(IsTheHosts(key) ? "guest-" + key : FieldName(key), ValueText(value));
  }
  return record;
}

namespace {

bool Admit(std::string_view source, std::string_view line, TextBudget& budget) {
  if (!budget.Take(line.size())) return false;
  if (const size_t refused = budget.TakeRefused(); refused != 0) {
    log::Warning("there were more lines than may be logged", {{"source", source}, {"dropped", refused}});
  }
  return true;
}

// Kept alive by its pending read.
class LogReader : public std::enable_shared_from_this<LogReader> {
 public:
  LogReader(EventLoop& loop, std::shared_ptr<TextBudget> budget)
      : channel_(loop.context()), budget_(std::move(budget)) {}

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
      if (line.empty() || !Admit("agent", line, *budget_)) continue;
      AgentLogRecord record = ParseAgentLogLine(line);
      log::Write(record.level, record.message, std::move(record.fields));
    }
  }

  asio::posix::stream_descriptor channel_;
  std::array<char, 4096> buffer_;
  LineSplitter splitter_;
  const std::shared_ptr<TextBudget> budget_;
};

}  // namespace

Status ForwardAgentLog(EventLoop& loop, UniqueFd channel, std::shared_ptr<TextBudget> budget) {
  auto reader = std::make_shared<LogReader>(loop, std::move(budget));
  TRY(reader->Assign(std::move(channel)));
  loop.Post([reader] { reader->Read(); });
  return {};
}

void LogConsoleLine(std::string_view line, TextBudget& budget) {
  LogProgramLine(log::Level::kDebug, "guest-console", line, budget);
}

void LogProgramLine(log::Level level, std::string_view source, std::string_view line, TextBudget& budget) {
  if (log::GetLevel() > level || !Admit(source, line, budget)) return;
  log::Write(level, ToPlainLine(line, kMaxMessageBytes), {{"source", source}});
}

}  // namespace kata::sandbox
