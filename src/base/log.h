// Log records: a level, one line of text and key-value fields, written to the sinks that the program chose.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::log {

enum class Level { kTrace, kDebug, kInfo, kWarning, kError, kCritical };
// "debug", "info", "warning", "error", "fatal" ...: logrus' names, which engines read.
std::string_view LevelName(Level level);
Result<Level> ParseLevel(std::string_view name);

// One field; the value is formatted with fmt's default.
struct Field {
  template <typename T>
  Field(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
  std::string key;
  std::string value;
};

struct Record {
  std::chrono::system_clock::time_point time;
  Level level;
  std::string_view message;
  const std::vector<Field>& fields;  // the program's own (SetContext) first, then the record's
};

// Where records go. Write is called by one thread at a time and must not block for long or log itself.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void Write(const Record& record) = 0;
};

enum class Format { kText, kJson };

// Appends to `path` (created 0600-style by umask); engines read the JSON records {"level","msg","time"}.
Result<std::unique_ptr<Sink>> MakeFileSink(const std::string& path, Format format);
// Writes to a descriptor it does not own, one write(2) a record; never blocks the program on a full pipe
// if the descriptor is non-blocking (the record is dropped and counted).
std::unique_ptr<Sink> MakeFdSink(int fd, Format format);
// The syslog socket, hence the journal, with identifier `ident`; fields as key=value behind the message.
// Unlike syslog(3) it never blocks: a record that the daemon does not take at once is dropped and counted.
std::unique_ptr<Sink> MakeSyslogSink(const std::string& ident, const std::string& socket_path = "/dev/log");
// Hands on the records that are at least of this level.
std::unique_ptr<Sink> MakeLevelSink(Level least, std::unique_ptr<Sink> sink);
std::unique_ptr<Sink> MakeCallbackSink(std::function<void(const Record&)> callback);

// Program-wide set-up; thread safe.
void AddSink(std::unique_ptr<Sink> sink);
void ClearSinks();
void SetLevel(Level level);
Level GetLevel();
// Fields that stand in every record from now on (e.g. sandbox=<id>).
void SetContext(std::vector<Field> fields);

// Thread safe. Records below the level are dropped before formatting.
void Write(Level level, std::string_view message, std::vector<Field> fields);

inline void Debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  if (GetLevel() <= Level::kDebug) Write(Level::kDebug, message, fields);
}
inline void Info(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kInfo, message, fields);
}
inline void Warning(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kWarning, message, fields);
}
inline void LogError(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kError, message, fields);
}

// A step of the program: told at debug level at its end, with the time that it took. It ends with this
// object, or earlier by End().
class Step {
 public:
  explicit Step(std::string_view what, std::initializer_list<Field> fields = {});
  Step(Step&& other) noexcept;
  Step& operator=(Step&&) = delete;
  ~Step() { End(); }
  void End();

 private:
  std::string what_;  // empty: it has ended
  std::vector<Field> fields_;
  std::chrono::steady_clock::time_point begin_;
};

// The record as one line without line end: logrus text (time="..." level=info msg="..." k=v) or JSON.
std::string FormatRecord(const Record& record, Format format);
// RFC 3339 in UTC with nanoseconds, e.g. 2026-01-02T03:04:05.123456789Z.
std::string FormatTime(std::chrono::system_clock::time_point time);
// `text` as the inside of a JSON string, quotes included; invalid UTF-8 becomes U+FFFD.
std::string JsonQuote(std::string_view text);

}  // namespace kata::log
