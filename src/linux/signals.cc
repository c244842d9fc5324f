// The table of Linux signals (signal(7)).
#include "linux/signals.h"

#include <cctype>
#include <csignal>
#include <optional>
#include <utility>

#include "base/parse_number.h"

namespace kata::linux {
namespace {

// Of two names for one number the first is the one that SignalName gives.
constexpr std::pair<std::string_view, int> kSignals[] = {
    {"HUP", SIGHUP},
    {"INT", SIGINT},
    {"QUIT", SIGQUIT},
    {"ILL", SIGILL},
    {"TRAP", SIGTRAP},
    {"ABRT", SIGABRT},
    {"IOT", SIGABRT},
    {"BUS", SIGBUS},
    {"FPE", SIGFPE},
    {"KILL", SIGKILL},
    {"USR1", SIGUSR1},
    {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},
    {"ALRM", SIGALRM},
    {"TERM", SIGTERM},
    {"CHLD", SIGCHLD},
    {"CLD", SIGCHLD},
    {"CONT", SIGCONT},
    {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU},
    {"URG", SIGURG},
    {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ},
    {"PROF", SIGPROF},
    {"VTALRM", SIGVTALRM},
    {"WINCH", SIGWINCH},
    {"IO", SIGIO},
    {"POLL", SIGIO},
    {"PWR", SIGPWR},
    {"SYS", SIGSYS},
    {"STKFLT", SIGSTKFLT},
    {"RTMIN", kFirstRealTimeSignal},
    {"RTMAX", kLastSignal},
};

// `name` without "SIG", upper case.
std::optional<int> FindByName(std::string_view name) {
  for (const auto& [known, number] : kSignals) {
    if (known == name) return number;
  }
  const bool from_min = name.starts_with("RTMIN+");
  const bool from_max = name.starts_with("RTMAX-");
  if (!from_min && !from_max) return std::nullopt;
  const std::optional<int> offset = ParseNumber<int>(name.substr(6));
  if (!offset || *offset < 0 || *offset > kLastSignal - kFirstRealTimeSignal) return std::nullopt;
  return from_min ? kFirstRealTimeSignal + *offset : kLastSignal - *offset;
}

}  // namespace

Result<int> ParseSignal(std::string_view text) {
  if (text.size() <= 32) {
    std::string name;
    for (const char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::optional<int> number = ParseNumber<int>(name);
    if (!number) number = FindByName(name.starts_with("SIG") ? std::string_view(name).substr(3) : name);
    if (number && *number >= 1 && *number <= kLastSignal) return *number;
  }
  return MakeError(Code::kInvalidArgument, "unknown signal '{}'", text.substr(0, 32));
}

std::string SignalName(int signal) {
  for (const auto& [name, number] : kSignals) {
    if (number == signal) return fmt::format("SIG{}", name);
  }
  if (signal > kFirstRealTimeSignal && signal < kLastSignal) {
    return fmt::format("SIGRTMIN+{}", signal - kFirstRealTimeSignal);
  }
  return fmt::format("{}", signal);
}

}  // namespace kata::linux
