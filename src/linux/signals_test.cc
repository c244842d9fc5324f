// Tests of linux/signals.h.
#include "linux/signals.h"

#include <csignal>

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;

TEST(SignalsTest, ParsesNamesNumbersAndRealTimeSignals) {
  const std::pair<const char*, int> cases[] = {
      {"SIGTERM", SIGTERM}, {"TERM", SIGTERM}, {"term", SIGTERM},  {"sigkill", SIGKILL}, {"9", 9},
      {"64", 64},           {"RTMIN", 34},     {"SIGRTMIN+3", 37}, {"RTMAX-1", 63},      {"SIGRTMAX", 64},
      {"SIGIOT", SIGABRT},  {"CLD", SIGCHLD},  {"SIGSTKFLT", 16},  {"SIGRTMIN+30", 64},
  };
  for (const auto& [text, number] : cases) {
    ASSERT_OK_AND_ASSIGN(const int parsed, ParseSignal(text));
    EXPECT_EQ(parsed, number) << text;
  }
}

TEST(SignalsTest, RefusesWhatIsNoSignal) {
  for (const char* text :
       {"", "0", "65", "-1", "SIG", "SIGFOO", "9x", "RTMIN+31", "RTMIN-1", "RTMIN+", "SIG9x"}) {
    EXPECT_THAT(ParseSignal(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

TEST(SignalsTest, EveryNameParsesBack) {
  for (int number = 1; number <= kLastSignal; ++number) {
    ASSERT_OK_AND_ASSIGN(const int parsed, ParseSignal(SignalName(number)));
    EXPECT_EQ(parsed, number);
  }
  EXPECT_EQ(SignalName(SIGCHLD), "SIGCHLD");
  EXPECT_EQ(SignalName(37), "SIGRTMIN+3");
}

}  // namespace
}  // namespace kata::linux
