// Where the agent's log records go: JSON lines to the console, a virtio-serial port or a vsock connection.
// The host may be slow or absent; the agent never waits for it.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "base/unique_fd.h"

namespace kata::agent {

// The record as one JSON object with line end, in the form that the host's side of the log expects: msg,
// level (INFO, DEBG ...), ts, subsystem, version, pid, source, name, then the record's own fields. A field
// named like one of these replaces it.
std::string FormatAgentRecord(const log::Record& record);

// A non-blocking descriptor for log lines. What it does not take at once is kept, up to kMaxBacklogBytes;
// lines that find the backlog full are dropped and counted, and the count is logged when there is room again.
// All functions are thread safe.
class LogStream {
 public:
  static constexpr size_t kMaxBacklogBytes = 64u << 10;

  // Lines collect in the backlog until a descriptor is attached.
  LogStream() = default;
  // `fd` must be non-blocking; replaces the one before.
  void Attach(UniqueFd fd);
  void WriteLine(const std::string& line);
  uint64_t dropped() const;

 private:
  void Flush();

  mutable std::mutex mutex_;
  UniqueFd fd_;
  std::string backlog_;
  uint64_t dropped_ = 0;           // since the program began
  uint64_t dropped_reported_ = 0;  // of these, told in the log
};

// Records go to `stream`.
std::unique_ptr<log::Sink> MakeLogStreamSink(std::shared_ptr<LogStream> stream);

}  // namespace kata::agent
