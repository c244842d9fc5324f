#include "sandbox/hooks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "linux/namespaces.h"
#include "oci/hook_time_limit.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsError;
using kata::test::IsErrorCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

oci::Hook Shell(const std::string& script) {
  return {.path = "/bin/sh", .args = {"sh", "-c", script}, .env = {}, .timeout_seconds = {}};
}

class HooksTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    run_.point = "prestart";
    run_.state.oci_version = "1.2.0";
    run_.state.id = "c1";
    run_.state.status = "creating";
    run_.state.pid = 42;
    run_.state.bundle = dir_->path();
    run_.working_directory = dir_->path();
  }
  std::string Read(const std::string& name) {
    const Result<std::string> text = ReadFile(dir_->path() + "/" + name);
    return text ? *text : text.error().message();
  }
  std::optional<TempDir> dir_;
  HookRun run_;
};

TEST_F(HooksTest, TheyRunInOrderWithTheStateOnStdin) {
  ASSERT_OK(RunHooks(
      {Shell("cat > first; pwd >> order"), Shell("echo second >> order; cat /dev/stdin > state")}, run_));
  EXPECT_EQ(Read("first"), oci::ToJson(run_.state));
  EXPECT_EQ(Read("state"), oci::ToJson(run_.state));
  EXPECT_EQ(Read("order"), dir_->path() + "\nsecond\n");
}

TEST_F(HooksTest, ArgumentsAndEnvironmentAreTheHooks) {
  oci::Hook hook = Shell("echo $0 $1 > args; env > env; echo x > /dev/full || true");
  hook.args.insert(hook.args.end(), {"zero", "one"});
  hook.env = {"A=b"};
  ASSERT_OK(RunHooks({hook}, run_));
  EXPECT_EQ(Read("args"), "zero one\n");
  EXPECT_THAT(Read("env"), AllOf(HasSubstr("A=b"), Not(HasSubstr("HOME="))));
}

TEST_F(HooksTest, AFailureNamesTheHookAndStopsTheOthers) {
  EXPECT_THAT(
      RunHooks({Shell("exit 0"), Shell("echo out; echo the cause >&2; exit 3"), Shell("echo > late")}, run_),
      IsError(Code::kAborted, AllOf(HasSubstr("prestart hook #1 '/bin/sh'"), HasSubstr("exit status 3"),
                                    HasSubstr("the cause"))));
  EXPECT_FALSE(PathExists(dir_->path() + "/late"));
  EXPECT_THAT(RunHooks({{.path = "/no/such/hook"}}, run_),
              IsError(Code::kAborted, HasSubstr("'/no/such/hook': No such file or directory")));
  EXPECT_THAT(RunHooks({Shell("kill -9 $$")}, run_), IsError(Code::kAborted, HasSubstr("signal 9")));
}

TEST_F(HooksTest, WhatIsLateIsKilledWithItsChildren) {
  oci::Hook hook = Shell("echo begun; sleep 1000 & echo $! > child; wait");
  hook.timeout_seconds = 1;
  EXPECT_EQ(oci::TimeLimit({hook, Shell("")}), std::chrono::seconds(1) + oci::kHookTimeLimit);
  EXPECT_THAT(RunHooks({hook}, run_),
              IsError(Code::kAborted, AllOf(HasSubstr("time-out of 1 s"), HasSubstr("begun"))));
  const pid_t child = std::stoi(Read("child"));
  const Deadline deadline = Deadline::After(std::chrono::seconds(30));
  const auto runs = [child] {
    const Result<std::string> stat = ReadFile(fmt::format("/proc/{}/stat", child));
    return stat && !stat->contains(") Z");
  };
  while (runs() && !deadline.Passed()) usleep(5000);
  EXPECT_FALSE(runs());
}

TEST_F(HooksTest, ItEndsWhenNobodyWantsItAnyMore) {
  UniqueFd event(eventfd(0, EFD_CLOEXEC));
  run_.cancel_fd = event.get();
  std::thread canceller([&] {
    while (!PathExists(dir_->path() + "/begun")) usleep(1000);
    eventfd_write(event.get(), 1);
  });
  EXPECT_THAT(RunHooks({Shell("echo > begun; exec sleep 1000")}, run_), IsErrorCode(Code::kCancelled));
  canceller.join();
}

TEST_F(HooksTest, OneThatIgnoresItsInputOrLeavesSomethingRunningDoesNotHang) {
  run_.state.annotations["large"] = std::string(1u << 20, 'x');
  EXPECT_OK(RunHooks({Shell("exit 0"), Shell("exec <&-; (sleep 3 &) ; exit 0")}, run_));
  EXPECT_OK(RunHooks({Shell("wc -c > size")}, run_));
  EXPECT_EQ(std::stoul(Read("size")), oci::ToJson(run_.state).size());
}

TEST_F(HooksTest, NamespacesAreThoseThatAreGiven) {
  linux::NamespaceFd made;
  std::thread([&] {
    ASSERT_OK(linux::Unshare(CLONE_NEWNET));
    ASSERT_OK_AND_ASSIGN(made, linux::NamespaceFd::OfProcess(0, CLONE_NEWNET));
  }).join();
  run_.namespace_fds = {made.get()};
  ASSERT_OK(RunHooks({Shell("stat -L -c %i /proc/self/ns/net > inode")}, run_));
  struct stat info{};
  ASSERT_EQ(fstat(made.get(), &info), 0);
  EXPECT_EQ(Read("inode"), fmt::format("{}\n", info.st_ino));
}

}  // namespace
}  // namespace kata::sandbox
