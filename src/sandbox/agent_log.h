// AgentLog: the agent's log lines, which arrive over a channel of their own, as log records of the host.
//
// The guest writes whatever it likes here: every length is bounded, control characters are taken out, and a
// flood is cut.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::sandbox {

// Cuts a stream of bytes into lines. A line longer than the limit is cut short, its rest dropped.
class LineSplitter {
 public:
  static constexpr size_t kMaxLineBytes = 8u << 10;
  // Appends the lines that are complete with `data` to `lines`, without their line ends.
  void Feed(std::string_view data, std::vector<std::string>& lines);

 private:
  std::string line_;
};

struct AgentLogRecord {
  log::Level level = log::Level::kInfo;
  std::string message;
  std::vector<log::Field> fields;  // source=agent first
};

// One line: a JSON object {"msg", "level", "ts", "subsystem", ...}; anything else becomes a record whose
// message is the line.
AgentLogRecord ParseAgentLogLine(std::string_view line);

inline constexpr int kMaxAgentLogLinesPerSecond = 1000;

// Logs what comes from the channel until its end, which is that of the VMM. `loop` is borrowed; thread safe.
Status ForwardAgentLog(EventLoop& loop, UniqueFd channel);

}  // namespace kata::sandbox
