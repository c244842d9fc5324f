#include "base/log.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <utility>

#include "base/file.h"
#include "base/unique_fd.h"
#include "base/utf8.h"

namespace kata::log {
namespace {

struct Settings {
  std::mutex mutex;
  std::vector<std::unique_ptr<Sink>> sinks;
  std::vector<Field> context;
};

// Never destroyed: threads may still log while the program exits.
Settings& GetSettings() {
  static Settings* const settings = new Settings;
  return *settings;
}

std::atomic<Level> current_level{Level::kInfo};

// A text-format value in double quotes, escaped as Go's %q does.
std::string TextQuote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    const size_t length = std::max<size_t>(point.length, 1);
    if (point.length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (text[0] == '"' || text[0] == '\\') {
      out += '\\';
      out += text[0];
    } else if (text[0] == '\n') {
      out += "\\n";
    } else if (text[0] == '\r') {
      out += "\\r";
    } else if (text[0] == '\t') {
      out += "\\t";
    } else if (IsControl(point.value)) {
      out += fmt::format(fmt::runtime(point.value < 0x80 ? "\\x{:02x}" : "\\u{:04x}"),
                         static_cast<unsigned>(point.value));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out + '"';
}

// logrus writes words of these characters bare.
std::string TextValue(std::string_view text) {
  const auto bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._/@^+").contains(c);
  };
  for (const char c : text) {
    if (!bare(c)) return TextQuote(text);
  }
  return text.empty() ? "\"\"" : std::string(text);
}

std::string FormatText(const Record& record) {
  std::string line = fmt::format("time=\"{}\" level={} msg={}", FormatTime(record.time),
                                 LevelName(record.level), TextQuote(record.message));
  for (const Field& field : record.fields) line += fmt::format(" {}={}", field.key, TextValue(field.value));
  return line;
}

std::string FormatJson(const Record& record) {
  std::string line = fmt::format(R"({{"level":"{}","msg":{},"time":"{}")", LevelName(record.level),
                                 JsonQuote(record.message), FormatTime(record.time));
  for (const Field& field : record.fields) {
    // As logrus does with a field that would hide one of its own.
    const bool clash = field.key == "level" || field.key == "msg" || field.key == "time";
    line +=
        fmt::format(",{}:{}", JsonQuote(clash ? "fields." + field.key : field.key), JsonQuote(field.value));
  }
  return line + '}';
}

// The count of records that a sink had to drop, told in a record of its own once there is room again.
class DropCounter {
 public:
  void Count() { ++dropped_; }
  bool any() const { return dropped_ != 0; }
  void Clear() { dropped_ = 0; }
  std::string Message() const { return fmt::format("{} log records were dropped", dropped_); }

 private:
  unsigned long dropped_ = 0;
};

class FdSink : public Sink {
 public:
  FdSink(int fd, Format format) : fd_(fd), format_(format) {}
  FdSink(UniqueFd fd, Format format) : owned_(std::move(fd)), fd_(owned_.get()), format_(format) {}

  void Write(const Record& record) override {
    if (drops_.any()) {
      const std::vector<Field> no_fields;
      if (!WriteLine({record.time, Level::kWarning, drops_.Message(), no_fields})) {
        drops_.Count();
        return;
      }
      drops_.Clear();
    }
    if (!WriteLine(record)) drops_.Count();
  }

 private:
  // False when the record was not written. One write(2) a record keeps the lines of processes that share a
  // file apart (O_APPEND), so a short write, as by a full pipe or disk, is not continued.
  bool WriteLine(const Record& record) {
    const std::string line = (torn_ ? "\n" : "") + FormatRecord(record, format_) + '\n';
    ssize_t written;
    do {
      written = write(fd_, line.data(), line.size());
    } while (written < 0 && errno == EINTR);
    const bool whole = written == static_cast<ssize_t>(line.size());
    if (written > 0) torn_ = !whole;
    return whole;
  }

  UniqueFd owned_;
  int fd_;
  Format format_;
  bool torn_ = false;  // the last line written lacks its end
  DropCounter drops_;
};

int SyslogPriority(Level level) {
  switch (level) {
    case Level::kTrace:
    case Level::kDebug:
      return LOG_DEBUG;
    case Level::kInfo:
      return LOG_INFO;
    case Level::kWarning:
      return LOG_WARNING;
    case Level::kError:
      return LOG_ERR;
    case Level::kCritical:
      return LOG_CRIT;
  }
  return LOG_INFO;
}

class SyslogSink : public Sink {
 public:
  SyslogSink(std::string ident, std::string path) : ident_(std::move(ident)), path_(std::move(path)) {}

  void Write(const Record& record) override {
    if (drops_.any()) {
      const std::vector<Field> no_fields;
      if (!Send({record.time, Level::kWarning, drops_.Message(), no_fields})) {
        drops_.Count();
        return;
      }
      drops_.Clear();
    }
    if (!Send(record)) drops_.Count();
  }

 private:
  bool Send(const Record& record) {
    std::string text(record.message);
    for (const Field& field : record.fields) text += fmt::format(" {}={}", field.key, TextValue(field.value));
    for (char& c : text) {
      if (c == '\n' || c == '\r') c = ' ';
    }
    // RFC 3164: <facility|severity>Mmm dd hh:mm:ss tag[pid]: content.
    const time_t seconds = std::chrono::system_clock::to_time_t(record.time);
    tm local;
    localtime_r(&seconds, &local);
    char time_text[32];
    strftime(time_text, sizeof time_text, "%b %e %H:%M:%S", &local);
    const std::string packet = fmt::format("<{}>{} {}[{}]: {}", LOG_USER | SyslogPriority(record.level),
                                           time_text, ident_, getpid(), text);
    // The second try is for a daemon that was started anew since the last record.
    return SendPacket(packet) || (errno != EAGAIN && Connect() && SendPacket(packet));
  }

  bool SendPacket(const std::string& packet) {
    return send(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  }

  bool Connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    socket_.Reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return socket_.valid() &&
           connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  std::string ident_;
  std::string path_;
  UniqueFd socket_;
  DropCounter drops_;
};

class LevelSink : public Sink {
 public:
  LevelSink(Level least, std::unique_ptr<Sink> sink) : least_(least), sink_(std::move(sink)) {}
  void Write(const Record& record) override {
    if (record.level >= least_) sink_->Write(record);
  }

 private:
  Level least_;
  std::unique_ptr<Sink> sink_;
};

class CallbackSink : public Sink {
 public:
  explicit CallbackSink(std::function<void(const Record&)> callback) : callback_(std::move(callback)) {}
  void Write(const Record& record) override { callback_(record); }

 private:
  std::function<void(const Record&)> callback_;
};

}  // namespace

std::string_view LevelName(Level level) {
  switch (level) {
    case Level::kTrace:
      return "trace";
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
    case Level::kCritical:
      return "fatal";
  }
  return "info";
}

Result<Level> ParseLevel(std::string_view name) {
  static constexpr std::pair<std::string_view, Level> kNames[] = {
      {"trace", Level::kTrace},     {"debug", Level::kDebug},    {"info", Level::kInfo},
      {"warning", Level::kWarning}, {"warn", Level::kWarning},   {"error", Level::kError},
      {"fatal", Level::kCritical},  {"panic", Level::kCritical}, {"critical", Level::kCritical}};
  for (const auto& [known, level] : kNames) {
    if (name == known) return level;
  }
  return MakeError(
      Code::kInvalidArgument,
      "unknown log level '{}'; known are trace, debug, info, warning, error, fatal, panic, critical", name);
}

Result<std::unique_ptr<Sink>> MakeFileSink(const std::string& path, Format format) {
  UniqueFd fd = TRY_CTX(Open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644), "log to file");
  return std::unique_ptr<Sink>(std::make_unique<FdSink>(std::move(fd), format));
}

std::unique_ptr<Sink> MakeFdSink(int fd, Format format) {
  return std::make_unique<FdSink>(fd, format);
}

std::unique_ptr<Sink> MakeSyslogSink(const std::string& ident, const std::string& socket_path) {
  return std::make_unique<SyslogSink>(ident, socket_path);
}

std::unique_ptr<Sink> MakeLevelSink(Level least, std::unique_ptr<Sink> sink) {
  return std::make_unique<LevelSink>(least, std::move(sink));
}

std::unique_ptr<Sink> MakeCallbackSink(std::function<void(const Record&)> callback) {
  return std::make_unique<CallbackSink>(std::move(callback));
}

void AddSink(std::unique_ptr<Sink> sink) {
  Settings& settings = GetSettings();
  const std::lock_guard lock(settings.mutex);
  settings.sinks.push_back(std::move(sink));
}

void ClearSinks() {
  Settings& settings = GetSettings();
  const std::lock_guard lock(settings.mutex);
  settings.sinks.clear();
}

void SetLevel(Level level) {
  current_level.store(level, std::memory_order_relaxed);
}
Level GetLevel() {
  return current_level.load(std::memory_order_relaxed);
}

void SetContext(std::vector<Field> fields) {
  Settings& settings = GetSettings();
  const std::lock_guard lock(settings.mutex);
  settings.context = std::move(fields);
}

void Write(Level level, std::string_view message, std::vector<Field> fields) {
  if (level < GetLevel()) return;
  Settings& settings = GetSettings();
  const std::lock_guard lock(settings.mutex);
  if (settings.sinks.empty()) return;
  fields.insert(fields.begin(), settings.context.begin(), settings.context.end());
  const Record record{std::chrono::system_clock::now(), level, message, fields};
  for (const std::unique_ptr<Sink>& sink : settings.sinks) sink->Write(record);
}

Step::Step(std::string_view what, std::initializer_list<Field> fields) {
  if (GetLevel() > Level::kDebug) return;
  what_ = what;
  fields_ = fields;
  begin_ = std::chrono::steady_clock::now();
}

Step::Step(Step&& other) noexcept
    : what_(std::exchange(other.what_, {})), fields_(std::move(other.fields_)), begin_(other.begin_) {}

void Step::End() {
  if (what_.empty()) return;
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin_;
  fields_.emplace_back("duration", fmt::format("{:.1f}ms", time.count()));
  Write(Level::kDebug, std::exchange(what_, {}), std::move(fields_));
}

std::string FormatRecord(const Record& record, Format format) {
  return format == Format::kJson ? FormatJson(record) : FormatText(record);
}

std::string FormatTime(std::chrono::system_clock::time_point time) {
  using std::chrono::nanoseconds;
  const auto since_epoch = std::chrono::duration_cast<nanoseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const time_t unix_seconds = seconds.count();
  tm utc;
  gmtime_r(&unix_seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (since_epoch - seconds).count());
}

std::string JsonQuote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    const size_t length = std::max<size_t>(point.length, 1);
    if (point.length == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD in UTF-8
    } else if (text[0] == '"' || text[0] == '\\') {
      out += '\\';
      out += text[0];
    } else if (text[0] == '\n') {
      out += "\\n";
    } else if (IsControl(point.value)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(point.value));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out + '"';
}

}  // namespace kata::log
