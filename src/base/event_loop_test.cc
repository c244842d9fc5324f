#include "base/event_loop.h"

#include <gtest/gtest.h>

#include <future>

#include "base/version.h"
#include "support/leak_checked_test.h"

namespace kata {
namespace {

class EventLoopTest : public test::LeakCheckedTest {};

TEST_F(EventLoopTest, RunsPostedWorkOnItsThread) {
  EventLoopThread thread;
  std::promise<bool> on_loop;
  thread.loop().Post([&] { on_loop.set_value(thread.loop().IsLoopThread()); });
  EXPECT_TRUE(on_loop.get_future().get());
  EXPECT_FALSE(thread.loop().IsLoopThread());
}

TEST_F(EventLoopTest, RunAndWaitRunsOnTheLoopThread) {
  EventLoopThread thread;
  std::promise<void> started;
  thread.loop().Post([&] { started.set_value(); });
  started.get_future().wait();
  bool on_loop = false;
  bool nested = false;
  thread.loop().RunAndWait([&] {
    on_loop = thread.loop().IsLoopThread();
    thread.loop().RunAndWait([&] { nested = true; });
  });
  EXPECT_TRUE(on_loop);
  EXPECT_TRUE(nested);
}

TEST_F(EventLoopTest, RunAndWaitNeedsNoRunningLoop) {
  EventLoop loop;
  int runs = 0;
  loop.RunAndWait([&] { ++runs; });
  EXPECT_EQ(runs, 1);
  loop.Post([&] { loop.Stop(); });
  loop.Run();
  loop.RunAndWait([&] { ++runs; });
  EXPECT_EQ(runs, 2);
}

TEST_F(EventLoopTest, RunAndWaitSurvivesALoopThatStopsFirst) {
  for (int round = 0; round < 200; ++round) {
    EventLoop loop;
    std::thread runner([&] { loop.Run(); });
    std::thread stopper([&] { loop.Stop(); });
    std::atomic<int> runs = 0;
    loop.RunAndWait([&] { ++runs; });
    EXPECT_EQ(runs, 1);
    stopper.join();
    runner.join();
    EXPECT_EQ(runs, 1);
  }
}

TEST_F(EventLoopTest, WorkerPoolRunsJobsAtTheSameTime) {
  WorkerPool pool(2);
  std::promise<void> first, second, done;
  pool.Post([&] {
    first.set_value();
    second.get_future().wait();
    done.set_value();
  });
  pool.Post([&] {
    first.get_future().wait();
    second.set_value();
  });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST(VersionTest, IsKnown) {
  EXPECT_FALSE(Version().empty());
  EXPECT_FALSE(Commit().empty());
}

}  // namespace
}  // namespace kata
