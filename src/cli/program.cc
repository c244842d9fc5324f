#include "cli/program.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cli/command_line.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

constexpr size_t kMaxMessageBytes = 64u << 10;

constexpr char kSyslogIdent[] = "kata-runtime";

// A caller may start us without them; a descriptor that is opened later must not take the number of one.
void EnsureStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) < 0)
      (void)open("/dev/null", O_RDWR);  // gets the lowest free number, which is `fd`
  }
}

Status OpenLogs(const GlobalOptions& globals) {
  log::SetLevel(globals.debug ? log::Level::kDebug : log::Level::kInfo);
  log::AddSink(log::MakeSyslogSink(kSyslogIdent));
  if (!globals.log.empty()) {
    log::AddSink(TRY(log::MakeFileSink(globals.log, globals.log_format)));
  } else {
    // A configuration that asks for debugging does not ask for it there.
    log::AddSink(log::MakeLevelSink(globals.debug ? log::Level::kDebug : log::Level::kWarning,
                                    log::MakeFdSink(STDERR_FILENO, globals.log_format)));
  }
  return {};
}

// As runc's: a command that is none ends with 3; 255 of exec is not one of a process that ended well.
int FailureCode(const Error& error, const Result<CommandLine>& command_line) {
  constexpr int kExecFailed = 255;
  constexpr int kNoSuchCommand = 3;
  if (!command_line) return error.code() == Code::kNotFound ? kNoSuchCommand : 1;
  return std::holds_alternative<ExecOptions>(command_line->command) ? kExecFailed : 1;
}

Result<int> Execute(const GlobalOptions&, const ShowText& show) {
  TRY(WriteStdout(show.text));
  return 0;
}

}  // namespace

int RunProgram(const std::vector<std::string>& args) {
  EnsureStandardDescriptors();
  signal(SIGPIPE, SIG_IGN);
  GlobalOptions globals;
  const Result<CommandLine> command_line = ParseCommandLine(args, globals);
  const Status logs = OpenLogs(globals);
  Result<int> exit_code = 1;
  if (!command_line) {
    exit_code = command_line.error();
  } else if (!logs) {
    exit_code = logs.error();
  } else {
    exit_code =
        std::visit([&](const auto& options) { return Execute(globals, options); }, command_line->command);
  }
  if (exit_code) return *exit_code;
  ReportError(globals, exit_code.error());
  return FailureCode(exit_code.error(), command_line);
}

void ReportError(const GlobalOptions& globals, const Error& error) {
  log::LogError(error.message());
  if (globals.log.empty()) return;  // stderr is the log
  // For people, to whom engines pass it on; with words of theirs in it.
  (void)WriteAll(STDERR_FILENO, ToPlainLine(error.message(), kMaxMessageBytes) + "\n");
}

}  // namespace kata::cli
