#include "base/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "base/scope_exit.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;
using namespace std::chrono_literals;

Deadline Soon() {
  return Deadline::After(30s);
}

Command Shell(const std::string& script) {
  Command command;
  command.program = "/bin/sh";
  command.args = {"-c", script};
  return command;
}

// Not a shell, which would catch some signals.
Command Sleeper() {
  Command command;
  command.program = "sleep";
  command.args = {"60"};
  return command;
}

struct Outcome {
  std::string output;  // of stdout and stderr
  ExitStatus status;
};

// Runs to the end with stdout and stderr in one pipe.
Result<Outcome> RunToEnd(Command command) {
  PipeEnds pipe = TRY(MakePipe());
  command.stdout_fd = pipe.write.get();
  command.stderr_fd = pipe.write.get();
  ChildProcess child = TRY(Spawn(command));
  pipe.write.Reset();
  Outcome outcome;
  outcome.output = TRY(ReadFd(pipe.read.get()));
  outcome.status = TRY(child.Wait(Soon()));
  return outcome;
}

class SpawnTest : public test::LeakCheckedTest {};
class ChildProcessTest : public test::LeakCheckedTest {};

TEST_F(SpawnTest, PassesArgumentsAndReturnsTheExitCode) {
  Command command = Shell(R"(printf '<%s>' "$0" "$@"; exit 7)");
  command.args.insert(command.args.end(), {"zero", "a b", "", "$x"});
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "<zero><a b><><$x>");
  EXPECT_EQ(outcome.status.code, 7);
  EXPECT_EQ(outcome.status.signal, 0);
  EXPECT_EQ(outcome.status.ShellCode(), 7);
  EXPECT_EQ(outcome.status.Describe(), "exit status 7");
}

TEST_F(SpawnTest, ReportsTheSignalThatEndedTheChild) {
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(Shell("kill -9 $$")));
  EXPECT_EQ(outcome.status.signal, SIGKILL);
  EXPECT_EQ(outcome.status.ShellCode(), 137);
  EXPECT_EQ(outcome.status.Describe(), "signal 9 (killed)");
}

TEST_F(SpawnTest, LooksProgramsWithoutSlashUpInPath) {
  Command command;
  command.program = "sh";
  command.args = {"-c", "exit 3"};
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.status.code, 3);
}

TEST_F(SpawnTest, PathLookupRemembersAFileThatMayNotBeExecuted) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  ASSERT_OK(WriteFileAtomic(dir.path() + "/tool", "", 0644));
  const std::string old_path = getenv("PATH");
  setenv("PATH", (dir.path() + ":/nonexistent").c_str(), 1);
  const ScopeExit restore([&] { setenv("PATH", old_path.c_str(), 1); });
  Command command;
  command.program = "tool";
  EXPECT_THAT(Spawn(command), IsError(Code::kPermissionDenied, "execute 'tool': Permission denied"));
  command.program = "other-tool";
  EXPECT_THAT(Spawn(command), IsError(Code::kNotFound, "execute 'other-tool': No such file or directory"));
}

TEST_F(SpawnTest, FailsWithTheErrnoOfExecve) {
  Command command;
  command.program = "/nonexistent/x";
  EXPECT_THAT(Spawn(command),
              IsError(Code::kNotFound, "execute '/nonexistent/x': No such file or directory"));

  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  command.program = dir.path() + "/script";
  ASSERT_OK(WriteFileAtomic(command.program, "no program at all", 0755));
  EXPECT_THAT(Spawn(command), IsError(Code::kInternal, HasSubstr("Exec format error")));
  command.program = dir.path();
  EXPECT_THAT(Spawn(command), IsErrorCode(Code::kPermissionDenied));
}

TEST_F(SpawnTest, FailsOnABadWorkingDirectory) {
  Command command = Shell("true");
  command.working_directory = "/nonexistent";
  EXPECT_THAT(Spawn(command),
              IsError(Code::kNotFound,
                      "execute '/bin/sh': change directory to '/nonexistent': No such file or directory"));
}

TEST_F(SpawnTest, RejectsWhatCannotBeSetUp) {
  Command command = Shell("true");
  command.inherited_fds = {{2, 0}};
  EXPECT_THAT(Spawn(command), IsErrorCode(Code::kInvalidArgument));
  command = Shell("true");
  command.controlling_tty_fd = 0;
  EXPECT_THAT(Spawn(command), IsErrorCode(Code::kInvalidArgument));
  command = Shell(std::string("a\0b", 3));
  EXPECT_THAT(Spawn(command), IsErrorCode(Code::kInvalidArgument));
  command = Command();
  EXPECT_THAT(Spawn(command), IsErrorCode(Code::kInvalidArgument));
  command = Shell("true");
  command.inherited_fds = {{3, 999}};
  EXPECT_THAT(Spawn(command), IsError(Code::kInternal, HasSubstr("duplicate file descriptor 999: Bad file")));
  ASSERT_OK_AND_ASSIGN(const UniqueFd null, Open("/dev/null", O_RDONLY));
  command = Shell("true");
  command.namespace_fds = {null.get()};
  EXPECT_THAT(Spawn(command), IsError(Code::kInvalidArgument, HasSubstr("enter namespace")));
}

TEST_F(SpawnTest, GivesTheEnvironmentAndWorkingDirectoryAsked) {
  Command command = Shell("pwd; env -u PWD -u _ -u OLDPWD -u SHLVL; cat");
  command.environment = {{"A=1", "B=two words"}};
  command.working_directory = "/usr";
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "/usr\nA=1\nB=two words\n");
}

TEST_F(SpawnTest, UsesArgv0) {
  Command command = Shell("");
  command.args = {"-c", "tr '\\0' ' ' </proc/$$/cmdline; true"};
  command.argv0 = "other-name";
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_THAT(outcome.output, testing::StartsWith("other-name -c"));
}

TEST_F(SpawnTest, StdioIsNullUnlessGiven) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  Command command = Shell("readlink /proc/self/fd/0 /proc/$$/fd/2 >" + dir.path() + "/out");
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  ASSERT_OK(child.Wait(Soon()));
  EXPECT_THAT(ReadFile(dir.path() + "/out").value_or(""), "/dev/null\n/dev/null\n");
}

// Files whose content names them, each on a descriptor number that the test chooses.
class FdMappingTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(dir_, TempDir::Create()); }

  UniqueFd FileAt(int number, const std::string& content) {
    const std::string path = dir_->path() + "/" + content;
    EXPECT_OK(WriteFileAtomic(path, content));
    const UniqueFd fd = Open(path, O_RDONLY).value_or(UniqueFd());
    EXPECT_EQ(dup3(fd.get(), number, O_CLOEXEC), number);
    return UniqueFd(number);
  }

  std::optional<TempDir> dir_;
};

TEST_F(FdMappingTest, SourcesAndTargetsMayOverlap) {
  const UniqueFd a = FileAt(100, "a");
  const UniqueFd b = FileAt(101, "b");
  const UniqueFd c = FileAt(102, "c");
  // dash reads redirections of one digit only, hence cat of /proc/self/fd.
  Command command = Shell("cat /dev/fd/100 /dev/fd/101 /dev/fd/102 /dev/fd/103 /dev/fd/3");
  command.inherited_fds = {{100, 101}, {101, 102}, {102, 100}, {103, 103 - 2}, {3, 100}};
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "bcaba");
}

TEST_F(FdMappingTest, ASourceKeepsItsNumberWithoutCloseOnExec) {
  const UniqueFd a = FileAt(100, "a");
  Command command = Shell("cat /dev/fd/100");
  command.inherited_fds = {{100, 100}};
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "a");
  EXPECT_EQ(fcntl(100, F_GETFD), FD_CLOEXEC);  // ours is as it was
}

TEST_F(FdMappingTest, StdioMayBeSwapped) {
  // Descriptor 1 of the child is our 2 and the other way round; 0 of the child is our pipe.
  ASSERT_OK_AND_ASSIGN(PipeEnds out, MakePipe());
  ASSERT_OK_AND_ASSIGN(PipeEnds err, MakePipe());
  ASSERT_OK_AND_ASSIGN(const UniqueFd saved1, UniqueFd(dup(1)).Duplicate());
  ASSERT_OK_AND_ASSIGN(const UniqueFd saved2, UniqueFd(dup(2)).Duplicate());
  dup2(out.write.get(), 1);
  dup2(err.write.get(), 2);
  Command command = Shell("echo to-stdout; echo to-stderr >&2");
  command.stdout_fd = 2;
  command.stderr_fd = 1;
  Result<ChildProcess> child = Spawn(command);
  dup2(saved1.get(), 1);
  dup2(saved2.get(), 2);
  ASSERT_OK(child);
  out.write.Reset();
  err.write.Reset();
  ASSERT_OK(child->Wait(Soon()));
  EXPECT_EQ(ReadFd(out.read.get()).value_or(""), "to-stderr\n");
  EXPECT_EQ(ReadFd(err.read.get()).value_or(""), "to-stdout\n");
}

TEST_F(FdMappingTest, NothingElseIsInherited) {
  const UniqueFd careless = FileAt(100, "a");
  ASSERT_OK(SetCloseOnExec(100, false));
  const UniqueFd given = FileAt(101, "b");
  Command command = Shell("ls /proc/$$/fd");
  command.inherited_fds = {{5, 101}};
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "0\n1\n2\n5\n");
}

TEST_F(SpawnTest, NewSessionWithControllingTerminal) {
  const UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(master.valid());
  ASSERT_EQ(grantpt(master.get()), 0);
  ASSERT_EQ(unlockpt(master.get()), 0);
  ASSERT_OK_AND_ASSIGN(UniqueFd slave, Open(ptsname(master.get()), O_RDWR | O_NOCTTY));
  Command command =
      Shell("read -r pid c s p pgrp session tty rest </proc/$$/stat; echo $((session == $$)) >/dev/tty");
  command.stdin_fd = command.stdout_fd = command.stderr_fd = slave.get();
  command.new_session = true;
  command.controlling_tty_fd = slave.get();
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  slave.Reset();
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Wait(Soon()));
  EXPECT_EQ(status.code, 0);
  char buffer[16];
  ASSERT_OK(WaitFd(master.get(), POLLIN, Soon(), "terminal output"));
  const ssize_t count = read(master.get(), buffer, sizeof buffer);
  EXPECT_EQ(std::string(buffer, count > 0 ? count : 0), "1\r\n");
}

TEST_F(SpawnTest, EntersNamespacesBeforeExec) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  // A child in a UTS namespace of its own holds it open for the second one.
  Command holder = Shell("hostname kata-test-host; echo ready; read -r line");
  holder.program = "unshare";
  holder.args = {"--uts", "sh", "-c",
                 "echo kata-test-host >/proc/sys/kernel/hostname; echo ready; read -r line"};
  ASSERT_OK_AND_ASSIGN(PipeEnds in, MakePipe());
  ASSERT_OK_AND_ASSIGN(PipeEnds out, MakePipe());
  holder.stdin_fd = in.read.get();
  holder.stdout_fd = out.write.get();
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(holder));
  ASSERT_OK(WaitFd(out.read.get(), POLLIN, Soon(), "the namespace"));
  ASSERT_OK_AND_ASSIGN(const UniqueFd uts,
                       Open("/proc/" + std::to_string(child.pid()) + "/ns/uts", O_RDONLY));
  Command command = Shell("cat /proc/sys/kernel/hostname");
  command.namespace_fds = {uts.get()};
  ASSERT_OK_AND_ASSIGN(const Outcome outcome, RunToEnd(command));
  EXPECT_EQ(outcome.output, "kata-test-host\n");
}

TEST_F(SpawnTest, IsBornInAPidNamespace) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Command first = Sleeper();
  first.new_pid_namespace = true;
  first.parent_death_signal = SIGKILL;
  ASSERT_OK_AND_ASSIGN(const ChildProcess child, Spawn(first));
  EXPECT_THAT(ReadFile(fmt::format("/proc/{}/status", child.pid())).value_or(""),
              testing::ContainsRegex(fmt::format("NSpid:\t{}\t1\n", child.pid())));
  ASSERT_OK_AND_ASSIGN(const UniqueFd pids, Open(fmt::format("/proc/{}/ns/pid", child.pid()), O_RDONLY));
  Command second = Shell("echo $$");
  second.pid_namespace_fd = pids.get();
  second.parent_death_signal = SIGKILL;
  ASSERT_OK_AND_ASSIGN(Outcome outcome, RunToEnd(second));
  EXPECT_EQ(outcome.output, "2\n");
  // The next one is born where this process lives.
  ASSERT_OK_AND_ASSIGN(outcome, RunToEnd(Shell("readlink /proc/self/ns/pid")));
  char own[64] = {};
  ASSERT_GT(readlink("/proc/self/ns/pid", own, sizeof own - 1), 0);
  EXPECT_EQ(outcome.output, std::string(own) + "\n");
}

TEST_F(SpawnTest, WritesItselfIntoCgroups) {
  // Any writable file shows what the kernel would get.
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  ASSERT_OK_AND_ASSIGN(const UniqueFd procs, Open(dir.path() + "/cgroup.procs", O_RDWR | O_CREAT, 0600));
  Command command = Shell("true");
  command.cgroup_procs_fds = {procs.get(), procs.get()};
  ASSERT_OK(RunToEnd(command));
  EXPECT_EQ(ReadFile(dir.path() + "/cgroup.procs").value_or(""), "00");
}

TEST_F(SpawnTest, ForbidsCoreDumpsUnlessAllowed) {
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_CORE, &old_limit), 0);
  if (old_limit.rlim_max == 0) GTEST_SKIP() << "core dumps are forbidden here anyway";
  const rlimit some{4096, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_CORE, &some), 0);
  const ScopeExit restore([&] { setrlimit(RLIMIT_CORE, &old_limit); });
  Command command = Shell("ulimit -c");
  EXPECT_EQ(RunToEnd(command).value_or(Outcome()).output, "0\n");
  command.allow_core_dump = true;
  EXPECT_NE(RunToEnd(command).value_or(Outcome()).output, "0\n");
}

TEST_F(SpawnTest, CapabilitiesOutliveAChangeOfUserWhereAskedFor) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  // As whom a file can be written into a directory that is root's alone.
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  ASSERT_EQ(chmod(dir.path().c_str(), 0700), 0);
  Command command;
  command.program = "perl";
  command.args = {"-e", "$> = 1000; print open(F, '>', $ARGV[0]) ? (stat F)[4] : 'refused'",
                  dir.path() + "/x"};
  EXPECT_EQ(RunToEnd(command).value_or(Outcome()).output, "refused");
  command.keep_capabilities = true;
  EXPECT_EQ(RunToEnd(command).value_or(Outcome()).output, "1000");
}

TEST_F(SpawnTest, ProgramsGetTheLimitOfDescriptorsFromBeforeItWasRaised) {
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  const ScopeExit restore([&] {
    setrlimit(RLIMIT_NOFILE, &old_limit);
    (void)RaiseDescriptorLimit();
    setrlimit(RLIMIT_NOFILE, &old_limit);
  });
  const rlimit few{100, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  ASSERT_OK(RaiseDescriptorLimit());
  rlimit raised;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &raised), 0);
  EXPECT_EQ(raised.rlim_cur, old_limit.rlim_max);
  EXPECT_EQ(RunToEnd(Shell("ulimit -Sn")).value_or(Outcome()).output, "100\n");
}

// SigIgn, SigBlk of a child as hexadecimal masks.
std::string SignalLines(bool reset) {
  Command command;
  command.program = "grep";
  command.args = {"-E", "^Sig(Blk|Ign)", "/proc/self/status"};
  command.reset_signals = reset;
  return RunToEnd(command).value_or(Outcome()).output;
}

TEST_F(SpawnTest, ResetsSignals) {
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  struct sigaction old_action;
  ASSERT_EQ(sigaction(SIGUSR1, &ignore, &old_action), 0);
  sigset_t block, old_mask;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &block, &old_mask), 0);
  const ScopeExit restore([&] {
    sigaction(SIGUSR1, &old_action, nullptr);
    pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  });
  EXPECT_EQ(SignalLines(true), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  // Bit n - 1 stands for signal n: SIGUSR1 is 10, SIGUSR2 is 12.
  EXPECT_EQ(SignalLines(false), "SigBlk:\t0000000000000800\nSigIgn:\t0000000000000200\n");
  // Ours are as they were.
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&now, SIGTERM), 0);
}

TEST_F(SpawnTest, ParentDeathSignalFollowsTheSpawningThread) {
  Command command = Sleeper();
  command.parent_death_signal = SIGKILL;
  Result<ChildProcess> child = Error(Code::kUnknown, "not started");
  std::thread([&] { child = Spawn(command); }).join();
  ASSERT_OK(child);
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child->Wait(Soon()));
  EXPECT_EQ(status.signal, SIGKILL);
}

TEST_F(SpawnTest, ManyThreadsMaySpawnAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      for (int round = 0; round < 10; ++round) {
        const Result<Outcome> outcome = RunToEnd(Shell("echo " + std::to_string(i)));
        ASSERT_OK(outcome);
        EXPECT_EQ(outcome->output, std::to_string(i) + "\n");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ChildProcessTest, WaitEndsAtItsDeadline) {
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Sleeper()));
  EXPECT_THAT(child.Wait(Deadline::After(20ms)), IsErrorCode(Code::kDeadlineExceeded));
  ASSERT_OK_AND_ASSIGN(const std::optional<ExitStatus> running, child.TryWait());
  EXPECT_FALSE(running.has_value());
  EXPECT_TRUE(child.valid());
}

TEST_F(ChildProcessTest, IsEmptyAfterItWasReaped) {
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Shell("exit 4")));
  ASSERT_OK(WaitFd(child.pidfd(), POLLIN, Soon(), "the child"));
  ASSERT_OK_AND_ASSIGN(const std::optional<ExitStatus> status, child.TryWait());
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->code, 4);
  EXPECT_FALSE(child.valid());
  EXPECT_EQ(child.pid(), -1);
}

TEST_F(ChildProcessTest, DestructionKillsAndReaps) {
  pid_t pid;
  {
    ASSERT_OK_AND_ASSIGN(const ChildProcess child, Spawn(Sleeper()));
    pid = child.pid();
  }
  EXPECT_THAT(OpenPidfd(pid), IsErrorCode(Code::kNotFound));
}

TEST_F(ChildProcessTest, AssignmentKillsAndReapsTheOldChild) {
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Sleeper()));
  const pid_t first = child.pid();
  ASSERT_OK_AND_ASSIGN(child, Spawn(Sleeper()));
  EXPECT_THAT(OpenPidfd(first), IsErrorCode(Code::kNotFound));
  EXPECT_TRUE(child.valid());
}

TEST_F(ChildProcessTest, TerminateAsksFirst) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  Command command = Shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
  command.stdout_fd = pipe.write.get();
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  ASSERT_OK(WaitFd(pipe.read.get(), POLLIN, Soon(), "the trap"));
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Terminate(30s));
  EXPECT_EQ(status.code, 5);
}

TEST_F(ChildProcessTest, TerminateKillsAfterTheGraceTime) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  Command command = Shell("trap '' TERM; echo ready; exec sleep 60");
  command.stdout_fd = pipe.write.get();
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  ASSERT_OK(WaitFd(pipe.read.get(), POLLIN, Soon(), "the trap"));
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Terminate(50ms));
  EXPECT_EQ(status.signal, SIGKILL);
}

TEST_F(ChildProcessTest, PidfdOfAnyProcessSendsSignals) {
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Sleeper()));
  ASSERT_OK_AND_ASSIGN(const UniqueFd pidfd, OpenPidfd(child.pid()));
  ASSERT_OK(SignalPidfd(pidfd.get(), SIGINT));
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Wait(Soon()));
  EXPECT_EQ(status.signal, SIGINT);
  EXPECT_THAT(SignalPidfd(pidfd.get(), SIGINT), IsErrorCode(Code::kNotFound));
}

TEST_F(ChildProcessTest, StartTimeNamesTheProcess) {
  // A name with a space and a parenthesis must not shift the fields.
  char old_name[16] = {};
  prctl(PR_GET_NAME, old_name);
  prctl(PR_SET_NAME, "a) R 1 (b");
  const Result<unsigned long long> first = ProcessStartTime(getpid());
  prctl(PR_SET_NAME, old_name);
  ASSERT_OK(first);
  EXPECT_EQ(ProcessStartTime(getpid()).value_or(0), *first);
  EXPECT_EQ(ProcessState(getpid()).value_or('?'), 'R');
  ASSERT_OK_AND_ASSIGN(const ChildProcess child, Spawn(Sleeper()));
  EXPECT_GE(ProcessStartTime(child.pid()).value_or(0), *first);
  EXPECT_THAT(ProcessStartTime(0x7ffffff), IsErrorCode(Code::kNotFound));
}

TEST(CommandTest, DescribeQuotesForAShell) {
  Command command;
  command.program = "/usr/bin/qemu";
  command.args = {"-m", "256M", "a b", "it's", "", "$x"};
  EXPECT_EQ(command.Describe(), R"(/usr/bin/qemu -m 256M 'a b' 'it'\''s' '' '$x')");
}

}  // namespace
}  // namespace kata
