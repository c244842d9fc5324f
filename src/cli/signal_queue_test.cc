#include "cli/signal_queue.h"

#include <csignal>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using test::IsError;
using test::IsOk;

class SignalQueueTest : public test::LeakCheckedTest {};

TEST_F(SignalQueueTest, AnEndingSignalIsAnInterrupt) {
  ASSERT_OK_AND_ASSIGN(SignalQueue signals, SignalQueue::ForEnding());
  EXPECT_OK(signals.CheckInterrupt());
  ASSERT_EQ(raise(SIGINT), 0);
  EXPECT_THAT(signals.CheckInterrupt(), IsError(Code::kCancelled, "interrupted by SIGINT"));
  EXPECT_OK(signals.CheckInterrupt());
}

TEST_F(SignalQueueTest, ForForwardingHoldsTheOthersToo) {
  ASSERT_OK_AND_ASSIGN(SignalQueue signals, SignalQueue::ForForwarding());
  ASSERT_EQ(raise(SIGUSR1), 0);
  EXPECT_OK(signals.CheckInterrupt());
  ASSERT_EQ(raise(SIGWINCH), 0);
  EXPECT_EQ(signals.Next(), SIGWINCH);
  EXPECT_EQ(signals.Next(), std::nullopt);
}

TEST_F(SignalQueueTest, TheOldMaskComesBack) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    ASSERT_OK_AND_ASSIGN(const SignalQueue signals, SignalQueue::ForForwarding());
  }
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < NSIG; ++signal)
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal));
}

}  // namespace
}  // namespace kata::cli
