#include "cgroup/systemd_scope.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/process.h"
#include "base/take_field.h"
#include "base/utf8.h"
#include "cgroup/systemd_path.h"

namespace kata::cgroup {
namespace {

constexpr size_t kMaxWords = 500;

// busctl(1) is a part of systemd and speaks D-Bus for us; a library would have to be linked into a program
// that is started for every command of an engine.
Status CallManager(std::vector<std::string> arguments, Deadline deadline) {
  PipeEnds errors = TRY(MakePipe());
  Command command;
  command.program = "busctl";
  // What follows "--" is no option, whatever it begins with: unit and properties are the engine's words, and
  // options of busctl run programs ("--address=unixexec:").
  command.args = {"--system",
                  "--quiet",
                  "--",
                  "call",
                  "org.freedesktop.systemd1",
                  "/org/freedesktop/systemd1",
                  "org.freedesktop.systemd1.Manager"};
  command.args.insert(command.args.end(), arguments.begin(), arguments.end());
  command.stderr_fd = errors.write.get();
  ChildProcess process = TRY(Spawn(command));
  errors.write.Reset();
  TRY(WaitFd(process.pidfd(), POLLIN, deadline, "systemd's answer"));
  const ExitStatus status = TRY(process.Wait(deadline));
  if (status.ShellCode() == 0) return {};
  // It has ended, so there is an end of its words, and they fit into the pipe.
  const std::string words = ToPlainLine(TRY(ReadFd(errors.read.get())), kMaxWords);
  return Error(Code::kAborted, words.empty() ? status.Describe() : words);
}

// Whether a line of /proc/PID/cgroup, "0::/a/b" or "1:name=systemd:/a/b", says that the process is in `path`
// of systemd's own hierarchy.
bool IsInScope(std::string_view cgroups, const std::string& path) {
  while (!cgroups.empty()) {
    const std::string_view line = TakeField(cgroups, '\n');
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view name = line.substr(first + 1, second - first - 1);
    // In a container of its own systemd's root may be below that of the hierarchy.
    if ((name.empty() || name == "name=systemd") && line.ends_with(path)) return true;
  }
  return false;
}

}  // namespace

Result<SystemdScope> MakeScopeName(const std::string& cgroups_path, const std::string& id) {
  const std::string name = cgroups_path.empty() ? "system.slice:kata:" + id : cgroups_path;
  const std::optional<std::string> path = ExpandSystemdPath(name);
  if (!path || !path->ends_with(".scope")) {
    return MakeError(Code::kInvalidArgument,
                     "linux.cgroupsPath: with --systemd-cgroup expected \"slice:prefix:name\", found '{}'",
                     cgroups_path);
  }
  SystemdScope scope;
  scope.path = *path;
  scope.unit = path->substr(path->find_last_of('/') + 1);
  scope.slice = name.substr(0, name.find(':'));
  if (scope.slice.empty()) scope.slice = "system.slice";
  return scope;
}

Status StartScope(const SystemdScope& scope, pid_t pid, Deadline deadline) {
  constexpr size_t kOwnProperties = 9;
  std::vector<std::string> arguments = {"StartTransientUnit",
                                        "ssa(sv)a(sa(sv))",
                                        scope.unit,
                                        "fail",
                                        std::to_string(kOwnProperties + scope.properties.size()),
                                        "Description",
                                        "s",
                                        "Kata container",
                                        "Slice",
                                        "s",
                                        scope.slice,
                                        "Delegate",
                                        "b",
                                        "true",
                                        "DefaultDependencies",
                                        "b",
                                        "false",
                                        "CollectMode",
                                        "s",
                                        "inactive-or-failed",
                                        "CPUAccounting",
                                        "b",
                                        "true",
                                        "MemoryAccounting",
                                        "b",
                                        "true",
                                        "TasksAccounting",
                                        "b",
                                        "true",
                                        "PIDs",
                                        "au",
                                        "1",
                                        fmt::format("{}", pid)};
  for (const SystemdProperty& property : scope.properties) {
    arguments.push_back(property.name);
    arguments.insert(arguments.end(), property.value.begin(), property.value.end());
  }
  arguments.emplace_back("0");  // no further units
  TRY_CTX(CallManager(arguments, deadline), "start scope '{}' of systemd", scope.unit);
  // The answer is only that the job is queued.
  for (;;) {
    const std::string cgroups =
        TRY_CTX(ReadFile(fmt::format("/proc/{}/cgroup", pid)), "start scope '{}' of systemd", scope.unit);
    if (IsInScope(cgroups, scope.path)) return {};
    if (deadline.Passed()) {
      return MakeError(Code::kDeadlineExceeded, "start scope '{}' of systemd: process {} is not in it",
                       scope.unit, pid);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Status StopScope(const std::string& unit, Deadline deadline) {
  const Status stopped = CallManager({"StopUnit", "ss", unit, "replace"}, deadline);
  if (stopped || stopped.error().message().contains("not loaded")) return {};
  return Error(stopped.error()).Wrap(fmt::format("stop scope '{}' of systemd", unit));
}

}  // namespace kata::cgroup
