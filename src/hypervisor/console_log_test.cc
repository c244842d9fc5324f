#include "hypervisor/console_log.h"

#include <gtest/gtest.h>

namespace kata::hypervisor {
namespace {

std::string ConsoleSummary(std::string_view text) {
  ConsoleLog log;
  log.Append(text, nullptr);
  log.Finish(nullptr);
  return log.Summary();
}

TEST(ConsoleLogTest, ThePanicIsTheCauseWhateverFollows) {
  EXPECT_EQ(
      ConsoleSummary("[    0.9] Run /init as init process\n"
                     "[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300\n"
                     "[    1.0] CPU: 0 PID: 1\n"
                     "[    1.1] Kernel panic - not syncing: second\n"
                     "[    1.1] ---[ end Kernel panic ]---\n"),
      "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300");
}

TEST(ConsoleLogTest, AFailedInitExplainsThePanic) {
  EXPECT_EQ(ConsoleSummary("[    0.9] Failed to execute /init (error -8)\n"
                           "[    1.0] Kernel panic - not syncing: No working init found.\n"),
            "Failed to execute /init (error -8) | Kernel panic - not syncing: No working init found.");
}

TEST(ConsoleLogTest, OtherwiseTheLastLines) {
  EXPECT_EQ(ConsoleSummary(""), "");
  EXPECT_EQ(ConsoleSummary("[    0.1] a\n[ not a stamp] b\nc\n[    0.2] d"), "[ not a stamp] b | c | d");
}

}  // namespace
}  // namespace kata::hypervisor
