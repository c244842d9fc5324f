// AgentLog: the agent's log lines, which arrive over a channel of their own, as log records of the host.
//
// The guest writes whatever it likes here: every length is bounded, control characters are taken out, and a
// flood is cut. No record of a guest's is of a higher level than "warning": engines take the last error in
// the runtime's log for the reason why their command failed.
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
#include "sandbox/text_budget.h"

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

// Logs what comes from the channel until its end, which is that of the VMM, as far as the budget reaches.
// `loop` is borrowed; the budget is used on its thread alone. Thread safe.
Status ForwardAgentLog(EventLoop& loop, UniqueFd channel, std::shared_ptr<TextBudget> budget);

// A line of the guest's console, at debug level, as far as the budget reaches.
void LogConsoleLine(std::string_view line, TextBudget& budget);
// A line of the VMM or of a program beside it, `source`, likewise: what a guest does may make them talk.
void LogProgramLine(log::Level level, std::string_view source, std::string_view line, TextBudget& budget);

}  // namespace kata::sandbox
