// When SIGTERM to an init is lost.
#include "agent/dropped_signal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace kata::agent {
namespace {

constexpr uint64_t kTerm = 1u << (SIGTERM - 1);

struct Masks {
  uint64_t blocked = 0;
  uint64_t ignored = 0;
  uint64_t caught = 0;
};

std::string Status(const std::string& pids, const Masks& masks) {
  return fmt::format(
      "Name:\tinit\nNSpid:\t{}\nNSpgid:\t1\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\n"
      "SigCgt:\t{:016x}\nCapInh:\t0000000000000000\n",
      pids, kTerm, masks.blocked, masks.ignored, masks.caught);
}

std::string Call(long number) {
  return fmt::format("{} 0x7ffc 0x0 0x0 0x8 0x0 0x0 0x7ffc00 0x7f00\n", number);
}

const std::string kPoll = Call(SYS_poll);

TEST(DropsSignal, OnlyWhereTheFirstProcessDoesNothingAboutIt) {
  EXPECT_TRUE(DropsSignal(kPoll, Status("123\t1", {}), kPoll, SIGTERM));
  const uint64_t others = ~kTerm;
  EXPECT_TRUE(DropsSignal(kPoll, Status("123\t1", {others, others, others}), kPoll, SIGTERM));
  EXPECT_TRUE(DropsSignal(Call(-1), Status("123\t7\t1", {}), kPoll, SIGTERM));
  for (const Masks masks : {Masks{.blocked = kTerm}, Masks{.ignored = kTerm}, Masks{.caught = kTerm}})
    EXPECT_FALSE(DropsSignal(kPoll, Status("123\t1", masks), kPoll, SIGTERM));
}

TEST(DropsSignal, NotToOneThatWaitsForSignals) {
  for (const long number : {long{SYS_rt_sigtimedwait}, 177L, 421L}) {
    EXPECT_FALSE(DropsSignal(Call(number), Status("123\t1", {}), kPoll, SIGTERM));
    EXPECT_FALSE(DropsSignal(kPoll, Status("123\t1", {}), Call(number), SIGTERM));
  }
}

TEST(DropsSignal, NotToOrdinaryProcesses) {
  // Of the reader's own namespace; of one whose first process is another.
  for (const char* pids : {"1", "123", "123\t2", "123\t11", "1\t2"})
    EXPECT_FALSE(DropsSignal(kPoll, Status(pids, {}), kPoll, SIGTERM)) << pids;
}

TEST(DropsSignal, NotWhereItCannotBeTold) {
  const std::string status = Status("123\t1", {});
  EXPECT_FALSE(DropsSignal("running\n", status, kPoll, SIGTERM));
  EXPECT_FALSE(DropsSignal(kPoll, status, "running\n", SIGTERM));
  EXPECT_FALSE(DropsSignal("", status, kPoll, SIGTERM));
  for (const char* key : {"\nNSpid", "\nSigBlk", "\nSigIgn", "\nSigCgt"}) {
    std::string without = status;
    without.replace(without.find(key), 3, "\nx");
    EXPECT_FALSE(DropsSignal(kPoll, without, kPoll, SIGTERM)) << key;
  }
  EXPECT_FALSE(DropsSignal(kPoll, "", kPoll, SIGTERM));
  EXPECT_FALSE(DropsSignal(getpid(), SIGTERM));
}

}  // namespace
}  // namespace kata::agent
