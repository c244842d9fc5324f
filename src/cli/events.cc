// kata-runtime events
#include <algorithm>

#include "base/deadline.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/container_json.h"
#include "cli/stats_json.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

Error NotRunning(const std::string& id) {
  return MakeError(Code::kFailedPrecondition, "container with id {} is not running", id);
}

Status Show(const nlohmann::ordered_json& event) {
  return WriteStdout(DumpJson(event, -1) + "\n");
}

Status ShowStats(TaskClient& server, const std::string& id) {
  return Show(StatsEvent(id, TRY(server.Stats(id))));
}

// Whether an error only says that the container is gone, which is the end that was waited for.
bool IsEnd(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kNotFound ||
         error.code() == Code::kFailedPrecondition;
}

// Until the container has stopped.
Status ShowEvents(TaskClient& server, const EventsOptions& options) {
  uint64_t oom_kills = TRY(server.WaitEvent(options.id, 0, std::chrono::milliseconds(0))).oom_kills();
  Deadline next_stats = Deadline::After(options.interval);
  for (;;) {
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_stats.Remaining());
    const monitor::WaitEventResponse event = TRY(server.WaitEvent(options.id, oom_kills, wait));
    for (; oom_kills < event.oom_kills(); ++oom_kills) TRY(Show(OomEvent(options.id)));
    if (event.stopped()) return {};
    if (!next_stats.Passed()) continue;
    TRY(ShowStats(server, options.id));
    next_stats = Deadline::After(options.interval);
  }
}

Status Events(const GlobalOptions& globals, const EventsOptions& options) {
  Container container = TRY(Container::Open(globals, options.id));
  const std::string status = TRY(container.CurrentStatus());
  if (status == "stopped" || container.server() == nullptr) return NotRunning(options.id);
  if (options.stats) return ShowStats(*container.server(), options.id);
  const Status shown = ShowEvents(*container.server(), options);
  return !shown && IsEnd(shown.error()) ? Status() : shown;
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const EventsOptions& options) {
  TRY_CTX(Events(globals, options), "events of container '{}'", options.id);
  return 0;
}

}  // namespace kata::cli
