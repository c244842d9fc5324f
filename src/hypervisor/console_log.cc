#include "hypervisor/console_log.h"

#include "base/utf8.h"

namespace kata::hypervisor {
namespace {

constexpr size_t kSummaryLineBytes = 400;

}  // namespace

void ConsoleLog::Append(std::string_view bytes, const LineCallback& on_line) {
  tail_.Append(bytes, [&](std::string_view line) {
    Inspect(line);
    if (on_line) on_line(line);
  });
}

void ConsoleLog::Finish(const LineCallback& on_line) {
  tail_.Finish([&](std::string_view line) {
    Inspect(line);
    if (on_line) on_line(line);
  });
}

// The texts are those of init/main.c and kernel/panic.c. The first panic is the cause, later ones its
// consequences.
void ConsoleLog::Inspect(std::string_view line) {
  const std::string_view text = WithoutTimestamp(line);
  if (init_failure_.empty() &&
      (text.starts_with("Failed to execute ") || text.starts_with("check access for rdinit="))) {
    init_failure_ = ToPlainLine(text, kSummaryLineBytes);
  }
  if (panic_.empty() && text.starts_with("Kernel panic - not syncing")) {
    panic_ = ToPlainLine(text, kSummaryLineBytes);
  }
}

std::string ConsoleLog::Summary() const {
  if (!panic_.empty()) {
    return init_failure_.empty() ? panic_ : init_failure_ + " | " + panic_;
  }
  return tail_.Summary([](std::string_view) { return true; });
}

}  // namespace kata::hypervisor
