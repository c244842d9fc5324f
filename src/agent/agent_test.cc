// The API from end to end: a client, the agent, containers from busybox in real namespaces.
#include "agent/agent.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "agent/agent_fixture_test.h"
#include "jail/jail.h"

namespace {

// A container's init that holds SIGTERM back and takes it when it likes, without a handler, as tini and
// systemd do.
int TakeTerm(bool by_descriptor) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return 1;
  const int fd = by_descriptor ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  if (!by_descriptor) return sigwaitinfo(&set, nullptr) == SIGTERM ? 21 : 1;
  signalfd_siginfo info{};
  return read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGTERM ? 22 : 1;
}

}  // namespace

// The test program is also the agent's `<self> init`, the agent itself, and a container's program.
int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "init") == 0) kata::jail::JailMain();
  if (argc > 1 && std::strcmp(argv[1], "serve") == 0) return kata::agent::ServeInNamespaces();
  if (argc > 2 && std::strcmp(argv[1], "take-term") == 0)
    _exit(TakeTerm(std::strcmp(argv[2], "signalfd") == 0));
  signal(SIGPIPE, SIG_IGN);  // as AgentMain does
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::_;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

void AddMount(grpc::CreateContainerRequest& request, const std::string& type, const std::string& source,
              const std::string& destination, const std::string& option) {
  grpc::Mount& mount = *request.mutable_oci()->add_mounts();
  mount.set_destination(destination);
  mount.set_source(source);
  mount.set_type(type);
  mount.add_options(option);
}

// Makes the container run this program, with the libraries that it needs.
Status AddTestProgram(grpc::CreateContainerRequest& request, const std::vector<std::string>& args) {
  std::array<char, PATH_MAX> self{};
  if (readlink("/proc/self/exe", self.data(), self.size() - 1) < 0) return SysError("read own path");
  AddMount(request, "bind", self.data(), "/bin/test", "bind");
  for (const char* directory : {"/usr", "/lib", "/lib64"}) {
    if (PathExists(directory)) AddMount(request, "bind", directory, directory, "rbind");
  }
  grpc::Process& process = *request.mutable_oci()->mutable_process();
  process.clear_args();
  process.add_args("/bin/test");
  for (const std::string& arg : args) process.add_args(arg);
  return {};
}

TEST_F(AgentTest, HealthAndGuestDetails) {
  ASSERT_OK_AND_ASSIGN(const auto health,
                       client_->CallSync<grpc::HealthCheckResponse>(
                           "grpc.Health", "Check", grpc::CheckRequest(), std::chrono::seconds(30)));
  EXPECT_EQ(health.status(), grpc::HealthCheckResponse::SERVING);
  ASSERT_OK_AND_ASSIGN(const auto version,
                       client_->CallSync<grpc::VersionCheckResponse>(
                           "grpc.Health", "Version", grpc::CheckRequest(), std::chrono::seconds(30)));
  EXPECT_FALSE(version.agent_version().empty());
  grpc::GuestDetailsRequest request;
  request.set_mem_block_size(true);
  ASSERT_OK_AND_ASSIGN(const auto details, Call<grpc::GuestDetailsResponse>("GetGuestDetails", request));
  EXPECT_FALSE(details.agent_details().init_daemon());
  EXPECT_THAT(
      details.agent_details().storage_handlers(),
      IsSupersetOf({"virtio-fs", "blk", "mmioblk", "scsi", "nvdimm", "overlayfs", "ephemeral", "local"}));
  EXPECT_THAT(details.agent_details().device_handlers(),
              UnorderedElementsAre("blk", "mmioblk", "scsi", "nvdimm", "vfio-pci-gk"));
  EXPECT_THAT(Call("SetGuestDateTime", grpc::SetGuestDateTimeRequest()),
              IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, RefusesWithAReason) {
  EXPECT_THAT(Call("ResizeVolume", grpc::ResizeVolumeRequest()),
              IsError(Code::kUnimplemented, HasSubstr("not resized")));
  EXPECT_THAT(Call("SetPolicy", grpc::SetPolicyRequest()),
              IsError(Code::kUnimplemented, HasSubstr("no policy engine")));
  EXPECT_THAT(Call("MemAgentMemcgSet", grpc::MemAgentMemcgConfig()), IsErrorCode(Code::kUnimplemented));
  EXPECT_THAT(Call("MemAgentCompactSet", grpc::MemAgentCompactConfig()), IsErrorCode(Code::kUnimplemented));
  EXPECT_THAT(Call("NoSuchMethod", Empty()), IsErrorCode(Code::kUnimplemented));
  // What belongs to a machine that is not its guest.
  EXPECT_THAT(Call("AddSwap", grpc::AddSwapRequest()), IsErrorCode(Code::kFailedPrecondition));
  EXPECT_THAT(Call("AddSwapPath", grpc::AddSwapPathRequest()), IsErrorCode(Code::kFailedPrecondition));
  EXPECT_THAT(Call("OnlineCPUMem", grpc::OnlineCPUMemRequest()), IsErrorCode(Code::kFailedPrecondition));
  EXPECT_THAT(Call("MemHotplugByProbe", grpc::MemHotplugByProbeRequest()),
              IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, RunsAContainerToItsExitCode) {
  ASSERT_OK(Run("c1", "echo out; echo err >&2; hostname; echo pid $$; exit 3"));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "c1").value_or("error"), "out\npod\npid 1\n");
  EXPECT_EQ(ReadAll("ReadStderr", "c1", "c1").value_or("error"), "err\n");
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 3);
  // A late waiter gets it too, until the removal; so does one that names no process.
  EXPECT_EQ(Wait("c1", "").value_or(-1), 3);
  EXPECT_OK(Signal("c1", "", SIGKILL));
  ASSERT_OK(Remove("c1"));
  EXPECT_THAT(Wait("c1", "c1"), IsErrorCode(Code::kInvalidArgument));
}

TEST_F(AgentTest, WaitsForStartAfterCreate) {
  ASSERT_OK(Create(ShellRequest("c1", "echo started; sleep 1000")));
  auto output = std::async(std::launch::async, [&] { return ReadUntil("c1", "c1", "started"); });
  EXPECT_EQ(output.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  EXPECT_OK(output.get());
  EXPECT_THAT(Call("StartContainer", For<grpc::StartContainerRequest>("c1")),
              IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK(Remove("c1"));
}

TEST_F(AgentTest, RemovesAContainerThatWasNotStarted) {
  ASSERT_OK(Create(ShellRequest("c1", "true")));
  ASSERT_OK(Remove("c1"));
  ASSERT_OK(Run("c1", "exit 4"));
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 4);
}

TEST_F(AgentTest, ReportsAProgramThatCannotStartAtCreate) {
  grpc::CreateContainerRequest request = ShellRequest("c1", "");
  request.mutable_oci()->mutable_process()->clear_args();
  request.mutable_oci()->mutable_process()->add_args("nosuch");
  EXPECT_THAT(Create(request), IsError(Code::kNotFound, HasSubstr("nosuch")));
  request.mutable_oci()->mutable_process()->set_args(0, "/bin/notexec");
  EXPECT_THAT(Create(request), IsError(_, HasSubstr("/bin/notexec")));
  request.mutable_oci()->mutable_process()->set_args(0, "/bin/sh");
  request.mutable_oci()->mutable_process()->set_cwd("/bin/notexec");
  EXPECT_THAT(Create(request), IsError(_, HasSubstr("change to working directory '/bin/notexec'")));
  // Nothing is left of them: the id is free.
  ASSERT_OK(Run("c1", "exit 0"));
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 0);
}

TEST_F(AgentTest, UnknownAndBadIds) {
  EXPECT_THAT(Call("StartContainer", For<grpc::StartContainerRequest>("nosuch")),
              IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Remove("nosuch"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Wait("nosuch", "x"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Create(ShellRequest("../x", "true")), IsErrorCode(Code::kInvalidArgument));
  ASSERT_OK(Run("c1", "sleep 1000"));
  EXPECT_THAT(Create(ShellRequest("c1", "true")), IsErrorCode(Code::kAlreadyExists));
  EXPECT_THAT(Wait("c1", "nosuch"), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(Read("ReadStdout", "c1", "nosuch"), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(Signal("c1", "nosuch", SIGTERM), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(Signal("c1", "c1", 99), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Exec("c1", "a/b", "true"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Exec("c1", "c1", "true"), IsErrorCode(Code::kAlreadyExists));
}

// The names of directories that lie where the API puts the containers'.
TEST_F(AgentTest, NoIdIsReserved) {
  for (const char* id : {"sandbox", "shared", "virtual-volumes", "bundles"}) {
    ASSERT_OK(Run(id, "exit 6"));
    EXPECT_EQ(Wait(id, id).value_or(-1), 6);
    ASSERT_OK(Remove(id));
  }
  ASSERT_OK(Run("c1", "hostname"));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "c1").value_or("error"), "pod\n");
}

TEST_F(AgentTest, StdinUntilItsEnd) {
  ASSERT_OK(Run("c1", "cat; echo end"));
  EXPECT_EQ(Write("c1", "c1", "hello ").value_or(0), 6u);
  EXPECT_EQ(Write("c1", "c1", "world\n").value_or(0), 6u);
  ASSERT_OK(CloseStdin("c1", "c1"));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "c1").value_or("error"), "hello world\nend\n");
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 0);
  EXPECT_THAT(Write("c1", "c1", "late"), IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, AnEmptyWriteEndsStdin) {
  ASSERT_OK(Run("c1", "cat"));
  EXPECT_EQ(Write("c1", "c1", "x").value_or(9), 1u);
  EXPECT_EQ(Write("c1", "c1", "").value_or(9), 0u);
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "c1").value_or("error"), "x");
}

TEST_F(AgentTest, AWriteWaitsForAContainerThatDoesNotRead) {
  ASSERT_OK(Run("c1", "sleep 1000; cat"));
  auto write = std::async(std::launch::async, [&] { return Write("c1", "c1", std::string(1u << 20, 'x')); });
  EXPECT_EQ(write.wait_for(std::chrono::milliseconds(500)), std::future_status::timeout);
  EXPECT_THAT(Write("c1", "c1", "y"), IsErrorCode(Code::kResourceExhausted));
  ASSERT_OK(Signal("c1", "", SIGKILL));
  EXPECT_FALSE(write.get().has_value());
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 137);
}

TEST_F(AgentTest, CarriesMuchData) {
  ASSERT_OK(Run("c1", "head -c 5000000 /dev/zero | wc -c; cat | wc -c"));
  EXPECT_EQ(ReadUntil("c1", "c1", "\n").value_or("error"), "5000000\n");
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Write("c1", "c1", std::string(100000, 'x')).value_or(0), 100000u);
  ASSERT_OK(CloseStdin("c1", "c1"));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "c1").value_or("error"), "2000000\n");
}

TEST_F(AgentTest, TerminalWithSize) {
  grpc::CreateContainerRequest request = ShellRequest("c1", "stty size; read x; stty size; tty; exit 5");
  request.mutable_oci()->mutable_process()->set_terminal(true);
  request.mutable_oci()->mutable_process()->mutable_consolesize()->set_height(25);
  request.mutable_oci()->mutable_process()->mutable_consolesize()->set_width(81);
  ASSERT_OK(Create(request));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  EXPECT_THAT(ReadUntil("c1", "c1", "25 81\r\n"), test::IsOk());
  auto resize = For<grpc::TtyWinResizeRequest>("c1", "c1");
  resize.set_row(40);
  resize.set_column(132);
  ASSERT_OK(Call("TtyWinResize", resize));
  ASSERT_OK(Write("c1", "c1", "go\n"));
  ASSERT_OK_AND_ASSIGN(const std::string rest, ReadAll("ReadStdout", "c1", "c1"));
  EXPECT_THAT(rest, HasSubstr("40 132\r\n/dev/pts/0\r\n"));
  EXPECT_EQ(Read("ReadStderr", "c1", "c1").value_or("error"), "");
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 5);
}

TEST_F(AgentTest, ResizeWithoutATerminalIsRefused) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  EXPECT_THAT(Call("TtyWinResize", For<grpc::TtyWinResizeRequest>("c1", "c1")),
              IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, ExecsRunBesideInit) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  ASSERT_OK(Exec("c1", "e1", "cat; exit 9"));
  EXPECT_THAT(Exec("c1", "e1", "true"), IsErrorCode(Code::kAlreadyExists));
  EXPECT_EQ(Write("c1", "e1", "in").value_or(0), 2u);
  ASSERT_OK(CloseStdin("c1", "e1"));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "e1").value_or("error"), "in");
  EXPECT_EQ(ReadAll("ReadStderr", "c1", "e1").value_or("error"), "");
  EXPECT_EQ(Wait("c1", "e1").value_or(-1), 9);
  EXPECT_THAT(Wait("c1", "e1"), IsErrorCode(Code::kNotFound));  // told and read to its end
  ASSERT_OK(Exec("c1", "e2", "tty; exit 2", true));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "e2").value_or("error"), "/dev/pts/0\r\n");
  EXPECT_EQ(Wait("c1", "e2").value_or(-1), 2);
  auto missing = For<grpc::ExecProcessRequest>("c1", "e3");
  missing.mutable_process()->add_args("nosuch");
  missing.mutable_process()->set_cwd("/");
  EXPECT_THAT(Call("ExecProcess", missing), IsError(Code::kNotFound, HasSubstr("nosuch")));
  ASSERT_OK(Exec("c1", "e3", "exit 1"));
}

TEST_F(AgentTest, AnExecThatIsKilledWhileItStartsDoesNotOutliveThat) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  // Signals to all are jobs of the container's, which an exec has to wait for.
  auto signal_all = For<grpc::SignalProcessRequest>("c1", "");
  signal_all.set_signal(SIGWINCH);
  signal_all.set_all(true);
  std::vector<std::future<Status>> jobs;
  for (int i = 0; i < 20; ++i) {
    jobs.push_back(std::async(std::launch::async, [&]() -> Status {
      TRY(Call("SignalProcess", signal_all));
      return {};
    }));
  }
  std::future<Status> exec = std::async(std::launch::async, [&] { return Exec("c1", "e1", "sleep 4711"); });
  // "Not found" until the agent has the request.
  Status killed;
  const Deadline deadline = Deadline::After(std::chrono::seconds(60));
  while (!(killed = Signal("c1", "e1", SIGKILL)) && !deadline.Passed())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_OK(killed);
  for (std::future<Status>& job : jobs) EXPECT_OK(job.get());
  const Status started = exec.get();
  if (!started) {
    EXPECT_THAT(started, IsError(Code::kCancelled, HasSubstr("killed while it started")));
    EXPECT_THAT(Wait("c1", "e1"), IsErrorCode(Code::kNotFound));
  } else {
    EXPECT_EQ(Wait("c1", "e1").value_or(-1), 128 + SIGKILL) << "the signal came later";
  }
}

TEST_F(AgentTest, AnExecEndsThoughItsChildHoldsTheStream) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  ASSERT_OK(Exec("c1", "e1", "sleep 1000 & echo parent"));
  EXPECT_EQ(Wait("c1", "e1").value_or(-1), 0);
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "e1").value_or("error"), "parent\n");
}

TEST_F(AgentTest, ManyWaitersGetTheStatus) {
  ASSERT_OK(Run("c1", "read x; exit 21"));
  std::vector<std::future<Result<int>>> waiters;
  for (int i = 0; i < 50; ++i) {
    waiters.push_back(std::async(std::launch::async, [&] { return Wait("c1", "c1"); }));
  }
  ASSERT_OK(Write("c1", "c1", "go\n"));
  for (auto& waiter : waiters) EXPECT_EQ(waiter.get().value_or(-1), 21);
}

TEST_F(AgentTest, ContainersInParallel) {
  std::vector<std::future<Status>> runs;
  for (int i = 0; i < 6; ++i) {
    runs.push_back(std::async(std::launch::async, [&, i]() -> Status {
      const std::string id = fmt::format("c{}", i);
      TRY(Run(id, fmt::format("echo {}; exit {}", id, i)));
      if (TRY(ReadAll("ReadStdout", id, id)) != id + "\n") return Error(Code::kInternal, "wrong output");
      if (TRY(Wait(id, id)) != i) return Error(Code::kInternal, "wrong exit code");
      return Remove(id);
    }));
  }
  for (auto& run : runs) EXPECT_OK(run.get());
}

TEST_F(AgentTest, TermWithoutHandlerBecomesKill) {
  ASSERT_OK(Run("c1", "exec sleep 1000"));
  std::future<Result<int>> code = std::async(std::launch::async, [&] { return Wait("c1", "c1"); });
  // Again, as one that comes while the process runs is given to it, and dropped.
  do {
    EXPECT_OK(Signal("c1", "c1", SIGTERM));
  } while (code.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready);
  EXPECT_EQ(code.get().value_or(-1), 137);
  ASSERT_OK(Run("c2", "trap 'exit 12' TERM; echo ready; while true; do sleep 0.1; done"));
  ASSERT_OK(ReadUntil("c2", "c2", "ready"));
  ASSERT_OK(Signal("c2", "", SIGTERM));
  EXPECT_EQ(Wait("c2", "c2").value_or(-1), 12);
}

TEST_F(AgentTest, TermReachesAnInitThatTakesItWithoutHandler) {
  for (const auto& [way, expected] : {std::pair("sigwait", 21), {"signalfd", 22}}) {
    grpc::CreateContainerRequest request = ShellRequest(way, "");
    ASSERT_OK(AddTestProgram(request, {"take-term", way}));
    ASSERT_OK(Create(request));
    ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>(way)));
    ASSERT_OK(ReadUntil(way, way, "ready"));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until it waits
    ASSERT_OK(Signal(way, way, SIGTERM));
    EXPECT_EQ(Wait(way, way).value_or(-1), expected) << way;
  }
}

TEST_F(AgentTest, TermIsIgnoredWhereInitWillsIt) {
  ASSERT_OK(Run("c1", "trap '' TERM; echo ready; read line; exit 13"));
  ASSERT_OK(ReadUntil("c1", "c1", "ready"));
  ASSERT_OK(Signal("c1", "c1", SIGTERM));
  ASSERT_OK(Write("c1", "c1", "go on\n"));
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 13);
}

TEST_F(AgentTest, TermEndsAnInitThatIsNotTheFirstOfItsPidNamespace) {
  ASSERT_OK(Create(ShellRequest("c1", "exec sleep 1000")));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  grpc::CreateContainerRequest other = ShellRequest("c2", "exec sleep 1000");
  other.set_sandbox_pidns(true);
  ASSERT_OK(Create(other));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c2")));
  ASSERT_OK(Signal("c2", "c2", SIGTERM));
  EXPECT_EQ(Wait("c2", "c2").value_or(-1), 143);
}

TEST_F(AgentTest, StartsThatTakeLongKeepNothingElseFromBeingDone) {
  std::vector<std::future<Status>> starts;
  for (int i = 0; i < 6; ++i) {
    grpc::CreateContainerRequest request = ShellRequest(fmt::format("slow{}", i), "exit 3");
    grpc::Hook& hook = *request.mutable_oci()->mutable_hooks()->add_startcontainer();
    hook.set_path("/bin/sh");
    for (const char* word : {"sh", "-c", "until test -e /tmp/go; do sleep 0.05; done"}) hook.add_args(word);
    ASSERT_OK(Create(request));
    starts.push_back(std::async(std::launch::async, [&, id = request.container_id()]() -> Status {
      TRY(Call("StartContainer", For<grpc::StartContainerRequest>(id)));
      return {};
    }));
  }
  ASSERT_OK(Run("c1", "exec sleep 1000"));
  ASSERT_OK(Exec("c1", "e1", "exit 4"));
  EXPECT_EQ(Wait("c1", "e1").value_or(-1), 4);
  // One that has been begun is not begun again, and can be ended.
  EXPECT_THAT(Call("StartContainer", For<grpc::StartContainerRequest>("slow0")),
              IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK(Remove("slow0"));
  EXPECT_NE(starts[0].wait_for(std::chrono::seconds(30)), std::future_status::timeout);
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/tmp/go", ""));
  for (size_t i = 1; i < starts.size(); ++i) {
    EXPECT_OK(starts[i].get());
    const std::string id = fmt::format("slow{}", i);
    EXPECT_EQ(Wait(id, id).value_or(-1), 3);
  }
}

TEST_F(AgentTest, KillWithoutProcessReachesAll) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  ASSERT_OK(Exec("c1", "e1", "trap '' TERM; echo ready; sleep 1000"));
  ASSERT_OK(ReadUntil("c1", "e1", "ready"));
  ASSERT_OK(Signal("c1", "", SIGKILL));
  EXPECT_EQ(Wait("c1", "e1").value_or(-1), 137);
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 137);
  EXPECT_THAT(Exec("c1", "e2", "true"), IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, ASignalToAllReachesEachProcess) {
  ASSERT_OK(Run("c1", "trap 'echo got' USR1; echo ready; while :; do sleep 0.05; done"));
  ASSERT_OK(ReadUntil("c1", "c1", "ready"));
  if (!Call("PauseContainer", For<grpc::PauseContainerRequest>("c1"))) GTEST_SKIP() << "needs cgroup v2";
  ASSERT_OK(Call("ResumeContainer", For<grpc::ResumeContainerRequest>("c1")));
  ASSERT_OK(Exec("c1", "e1", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"));
  ASSERT_OK(ReadUntil("c1", "e1", "ready"));
  auto request = For<grpc::SignalProcessRequest>("c1");
  request.set_signal(SIGUSR1);
  request.set_all(true);
  ASSERT_OK(Call("SignalProcess", request));
  EXPECT_EQ(Wait("c1", "e1").value_or(-1), 7);
  ASSERT_OK(ReadUntil("c1", "c1", "got"));
  // A paused container gets it when it goes on, and does not go on because of it.
  ASSERT_OK(Call("PauseContainer", For<grpc::PauseContainerRequest>("c1")));
  ASSERT_OK(Call("SignalProcess", request));
  EXPECT_THAT(Exec("c1", "e2", "true"), IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK(Call("ResumeContainer", For<grpc::ResumeContainerRequest>("c1")));
  ASSERT_OK(ReadUntil("c1", "c1", "got"));
  ASSERT_OK(Signal("c1", "", SIGKILL));
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 137);
  EXPECT_THAT(Call("SignalProcess", request), IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(AgentTest, SharedPidNamespaceIsTheFirstContainers) {
  // It lives as long as the sandbox, and cannot know that others will want to share.
  ASSERT_OK(Create(ShellRequest("c1", "exec sleep 1000")));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  // The end of one that shares is not that of the others.
  for (const std::string id : {"c2", "c3"}) {
    grpc::CreateContainerRequest other = ShellRequest(id, "echo $$; cat /proc/1/comm");
    other.set_sandbox_pidns(true);
    ASSERT_OK(Create(other));
    ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>(id)));
    ASSERT_OK_AND_ASSIGN(const std::string output, ReadAll("ReadStdout", id, id));
    EXPECT_THAT(output, HasSubstr("sleep\n"));
    EXPECT_NE(output.substr(0, 2), "1\n");
    ASSERT_OK(Remove(id));
  }
  ASSERT_OK(Create(ShellRequest("c4", "echo $$")));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c4")));
  EXPECT_EQ(ReadAll("ReadStdout", "c4", "c4").value_or("error"), "1\n");
}

TEST_F(AgentTest, NamespacesAreTheSandboxesTheContainersOrAnothers) {
  constexpr const char* kKinds[] = {"ipc", "uts", "pid", "cgroup", "time"};
  const std::string look =
      "hostname; for n in ipc uts pid cgroup time; do readlink /proc/self/ns/$n; done; echo end";
  grpc::CreateContainerRequest own = ShellRequest("c1", look + "; sleep 1000");
  own.mutable_oci()->set_hostname("own");
  own.mutable_oci()->mutable_linux()->add_namespaces()->set_type("time");
  for (const char* kind : {"ipc", "uts"}) (*own.mutable_namespaces())[kind] = "";
  ASSERT_OK(Create(own));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  ASSERT_OK_AND_ASSIGN(const std::string seen, ReadUntil("c1", "c1", "end\n"));
  EXPECT_THAT(seen, testing::StartsWith("own\n"));

  grpc::CreateContainerRequest joins = ShellRequest("c2", look);
  for (const char* kind : kKinds) (*joins.mutable_namespaces())[kind] = "c1";
  ASSERT_OK(Create(joins));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c2")));
  EXPECT_EQ(ReadAll("ReadStdout", "c2", "c2").value_or("error"), seen);
  ASSERT_OK(Run("c3", "hostname; readlink /proc/self/ns/ipc"));
  ASSERT_OK_AND_ASSIGN(const std::string sandboxes, ReadAll("ReadStdout", "c3", "c3"));
  EXPECT_THAT(sandboxes, testing::StartsWith("pod\n"));
  EXPECT_THAT(seen, testing::Not(HasSubstr(sandboxes.substr(4))));

  EXPECT_EQ(Wait("c3", "c3").value_or(-1), 0);
  for (const auto& [kind, container, text] :
       {std::tuple("ipc", "nosuch", "nosuch"), {"mount", "c1", "mount"}, {"uts", "c3", "not running"}}) {
    grpc::CreateContainerRequest bad = ShellRequest("c4", "true");
    (*bad.mutable_namespaces())[kind] = container;
    EXPECT_THAT(Create(bad), IsError(_, HasSubstr(text))) << kind;
  }
}

TEST_F(AgentTest, PauseStopsAndResumeGoesOn) {
  ASSERT_OK(Run("c1", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"));
  ASSERT_OK(ReadUntil("c1", "c1", "2\n"));
  const auto pause = For<grpc::PauseContainerRequest>("c1");
  const Result<Empty> paused = Call("PauseContainer", pause);
  if (!paused) GTEST_SKIP() << "needs cgroup v2: " << paused.error().message();
  EXPECT_THAT(Exec("c1", "e1", "true"), IsErrorCode(Code::kFailedPrecondition));
  // What was written before is read; then there is nothing more.
  while (true) {
    auto read = std::async(std::launch::async, [&] { return Read("ReadStdout", "c1", "c1"); });
    if (read.wait_for(std::chrono::milliseconds(500)) == std::future_status::ready) continue;
    ASSERT_OK(Call("ResumeContainer", For<grpc::ResumeContainerRequest>("c1")));
    EXPECT_FALSE(read.get().value_or("").empty());
    break;
  }
  ASSERT_OK(Call("PauseContainer", pause));
  ASSERT_OK(Remove("c1"));  // a paused container can be removed
}

TEST_F(AgentTest, StatsOfARunningContainer) {
  ASSERT_OK(Run("c1", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000"));
  ASSERT_OK(ReadUntil("c1", "c1", "done"));
  ASSERT_OK_AND_ASSIGN(const auto stats, Call<grpc::StatsContainerResponse>(
                                             "StatsContainer", For<grpc::StatsContainerRequest>("c1")));
  if (!stats.has_cgroup_stats()) GTEST_SKIP() << "needs cgroup v2";
  EXPECT_GT(stats.cgroup_stats().cpu_stats().cpu_usage().total_usage(), 0u);
}

TEST_F(AgentTest, DestroyRemovesAllContainers) {
  ASSERT_OK(Run("c1", "sleep 1000"));
  ASSERT_OK(Create(ShellRequest("c2", "true")));
  ASSERT_OK(Call("DestroySandbox", grpc::DestroySandboxRequest()));
  EXPECT_THAT(Wait("c1", "c1"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Create(ShellRequest("c3", "true")), IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK(Call("CreateSandbox", grpc::CreateSandboxRequest()));
  ASSERT_OK(Run("c1", "exit 6"));
  EXPECT_EQ(Wait("c1", "c1").value_or(-1), 6);
}

TEST_F(AgentTest, UsersByNameAreThoseOfTheContainer) {
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/etc/passwd", "root:x:0:0::/:\nworker:x:1234:55::/:\n"));
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/etc/group", "root:x:0:\nmore:x:77:\n"));
  ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/id").c_str()), 0);
  grpc::CreateContainerRequest request = ShellRequest("c1", "id -u; id -g; id -G; exec sleep 1000");
  request.mutable_string_user()->set_uid("worker");
  request.mutable_string_user()->add_additionalgids("more");
  ASSERT_OK(Create(request));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  EXPECT_OK(ReadUntil("c1", "c1", "1234\n55\n55 77\n"));
  auto exec = For<grpc::ExecProcessRequest>("c1", "e1");
  for (const char* word : {"/bin/sh", "-c", "id -u; id -g"}) exec.mutable_process()->add_args(word);
  exec.mutable_process()->set_cwd("/");
  exec.mutable_string_user()->set_uid("worker");
  exec.mutable_string_user()->set_gid("more");
  ASSERT_OK(Call("ExecProcess", exec));
  EXPECT_EQ(ReadAll("ReadStdout", "c1", "e1").value_or("error"), "1234\n77\n");
  exec.set_exec_id("e2");
  exec.mutable_string_user()->set_uid("stranger");
  EXPECT_THAT(Call("ExecProcess", exec),
              IsError(Code::kNotFound, HasSubstr("user 'stranger' is not in /etc/passwd of the container")));
  // A file outside of the container is not read, whatever leads there.
  ASSERT_EQ(unlink((rootfs_ + "/etc/passwd").c_str()), 0);
  ASSERT_OK(WriteFileAtomic(directory_->path() + "/passwd", "stranger:x:1:1::/:\n"));
  ASSERT_EQ(symlink("../../passwd", (rootfs_ + "/etc/passwd").c_str()), 0);
  exec.set_exec_id("e3");
  EXPECT_THAT(Call("ExecProcess", exec), IsErrorCode(Code::kNotFound));
}

// The /shared of the container that is called web, as /new/place of c2.
void AddSharedMount(grpc::CreateContainerRequest& request) {
  grpc::SharedMount& shared = *request.add_shared_mounts();
  shared.set_name("volume");
  shared.set_src_ctr("web");
  shared.set_src_path("/shared");
  shared.set_dst_ctr("c2");
  shared.set_dst_path("/new/place");
}

TEST_F(AgentTest, AMountOfOneContainerIsSharedWithAnother) {
  grpc::CreateContainerRequest first = ShellRequest("c1", "echo from first > /shared/file; exec sleep 1000");
  (*first.mutable_oci()->mutable_annotations())["io.kubernetes.cri.container-name"] = "web";
  AddMount(first, "tmpfs", "tmpfs", "/shared", "rw");
  ASSERT_OK(Create(first));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  grpc::CreateContainerRequest second =
      ShellRequest("c2", "until test -e /new/place/file; do sleep 0.05; done; cat /new/place/file");
  AddSharedMount(second);
  ASSERT_OK(Create(second));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c2")));
  EXPECT_EQ(ReadAll("ReadStdout", "c2", "c2").value_or("error"), "from first\n");
  second.set_container_id("c3");
  second.mutable_shared_mounts(0)->set_src_ctr("nosuch");
  EXPECT_THAT(Create(second), IsError(Code::kInvalidArgument,
                                      HasSubstr("shared mount 'volume': unknown container 'nosuch'")));
}

TEST_F(AgentTest, AMountIsSharedWithAContainerWhoseRootIsReadOnly) {
  grpc::CreateContainerRequest first = ShellRequest("c1", "echo from first > /shared/file; exec sleep 1000");
  (*first.mutable_oci()->mutable_annotations())["io.kubernetes.cri.container-name"] = "web";
  AddMount(first, "tmpfs", "tmpfs", "/shared", "rw");
  ASSERT_OK(Create(first));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  grpc::CreateContainerRequest second = ShellRequest(
      "c2",
      "until test -e /new/place/file; do sleep 0.05; done; cat /new/place/file; touch /x || echo refused");
  second.mutable_oci()->mutable_root()->set_readonly(true);
  AddMount(second, "tmpfs", "tmpfs", "/volume", "ro");
  AddSharedMount(second);
  ASSERT_OK(Create(second));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c2")));
  EXPECT_EQ(ReadAll("ReadStdout", "c2", "c2").value_or("error"), "from first\nrefused\n");
  // But a volume that is read-only is not written to.
  second.set_container_id("c3");
  second.set_exec_id("c3");
  second.mutable_shared_mounts(0)->set_dst_ctr("c3");
  second.mutable_shared_mounts(0)->set_dst_path("/volume/new");
  EXPECT_THAT(Create(second), IsError(testing::_, HasSubstr("Read-only file system")));
}

TEST_F(AgentTest, StoragesAreMountedAndReleased) {
  grpc::CreateContainerRequest request = ShellRequest("c1", "cat /data/file");
  grpc::Storage& storage = *request.add_storages();
  storage.set_driver("ephemeral");
  storage.set_source("tmpfs");
  storage.set_fstype("tmpfs");
  storage.set_mount_point("/run/kata-containers/sandbox/ephemeral/v");
  AddMount(request, "bind", storage.mount_point(), "/data", "rbind");
  ASSERT_OK(Create(request));
  ASSERT_OK(Remove("c1"));
  storage.set_driver("nosuch");
  EXPECT_THAT(Create(request), IsError(Code::kUnimplemented, HasSubstr("unknown storage driver 'nosuch'")));
}

}  // namespace
}  // namespace kata::agent
