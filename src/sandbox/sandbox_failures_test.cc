// Creations that fail, clients that vanish, and the machine's death.
#include "sandbox/sandbox_server_test.h"

namespace kata::sandbox {
namespace {

// --- failures of a creation ---

TEST_F(SandboxServerTest, BrokenBundleIsNamed) {
  ClientProcess process = Attach();
  task::CreateTaskRequest request;
  request.set_id("c1");
  request.set_bundle(dir_->path());
  EXPECT_THAT(Call<task::CreateTaskResponse>("Create", request),
              IsError(Code::kNotFound, HasSubstr("config.json': No such file")));
}

TEST_F(SandboxServerTest, MissingProgramFailsTheCreation) {
  ClientProcess process = Attach();
  EXPECT_THAT(Create({"nosuch"}), IsError(Code::kNotFound, HasSubstr("'nosuch': executable file not found")));
  AwaitEvent("stop");
  EXPECT_THAT(State(), IsErrorCode(Code::kNotFound));
  process.attachment.reset();
  AwaitServerEnd();
  EXPECT_FALSE(PathExists(directory_->path()));
}

TEST_F(SandboxServerTest, MachineThatDoesNotStartIsExplained) {
  script_->Set({.start_error = "start qemu: exit status 1: -kernel: no such file"});
  ClientProcess process = Attach();
  EXPECT_THAT(
      Create({"sleep"}),
      IsError(Code::kInternal, "start virtual machine: start qemu: exit status 1: -kernel: no such file"));
}

TEST_F(SandboxServerTest, SilentAgentIsReportedAfterTheTimeOut) {
  script_->Set({.agent_silent = true, .last_words = "guest console: Run /init as init process"});
  ClientProcess process = Attach();
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kDeadlineExceeded,
                                         "wait for the agent in the guest: no answer within 3 s: "
                                         "guest console: Run /init as init process"));
  AwaitEvent("stop");
}

TEST_F(SandboxServerTest, PanicWhileBootingIsReportedAtOnce) {
  script_->Set({.agent_silent = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("start");
    // Not before the agent's stream is there; the machine is told of its death a moment later.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    script_->KillMachine("exit status 0: Kernel panic - not syncing");
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(Create({"sleep"}), IsError(_, HasSubstr("Kernel panic - not syncing")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(2900));
  killer.join();
}

// Over vsock nothing but the machine's end can end the wait for the agent's call.
TEST_F(SandboxServerTest, MachineThatDiesBeforeTheAgentCallsGivesTheReason) {
  script_->Set({.agent_absent = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("start");
    script_->KillMachine("exit status 0: Kernel panic - not syncing");
  });
  EXPECT_THAT(Create({"sleep"}), IsError(_, HasSubstr("Kernel panic - not syncing")));
  killer.join();
}

TEST_F(SandboxServerTest, KillWhileBootingCancelsTheCreation) {
  script_->Set({.agent_silent = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("start");
    EXPECT_THAT(Delete(), IsErrorCode(Code::kFailedPrecondition));
    EXPECT_THAT(Kill(SIGUSR1), IsErrorCode(Code::kFailedPrecondition));
    EXPECT_OK(Kill(SIGKILL));
  });
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kCancelled, "it was killed"));
  killer.join();
  EXPECT_THAT(State(), IsErrorCode(Code::kNotFound));
}

TEST_F(SandboxServerTest, ShutdownWhileTheGuestCreatesEndsAll) {
  script_->Set({.create_hangs = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("create-container c1");
    EXPECT_OK(Call<Empty>("Shutdown", Now()));
  });
  EXPECT_THAT(Create({"sleep"}), IsErrorCode(Code::kCancelled));
  killer.join();
  AwaitServerEnd();
  EXPECT_THAT(script_->events(), Contains("stop"));
}

TEST_F(SandboxServerTest, ClientThatVanishesWithoutCommitTakesAllWithIt) {
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  process.attachment.reset();
  AwaitServerEnd();
  EXPECT_THAT(script_->events(), Contains("stop"));
  EXPECT_FALSE(PathExists(directory_->path()));
}

TEST_F(SandboxServerTest, ClientThatVanishesWhileBootingTakesAllWithIt) {
  script_->Set({.agent_silent = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("start");
    process.attachment.reset();
  });
  EXPECT_THAT(Create({"sleep"}), Not(IsOk()));
  killer.join();
  AwaitServerEnd();
  EXPECT_FALSE(PathExists(directory_->path()));
}

TEST_F(SandboxServerTest, StandInKilledWhileBootingCancels) {
  script_->Set({.agent_silent = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("start");
    process.channel.Reset();
  });
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kCancelled, HasSubstr("kata-shim")));
  killer.join();
}

TEST_F(SandboxServerTest, ServerThatNobodyComesToEnds) {
  EXPECT_OK(Call<Empty>("Shutdown", Now()));
  AwaitServerEnd();
  ASSERT_OK(directory_->Remove());
  ASSERT_OK_AND_ASSIGN(StateDirectory state, StateDirectory::Create(root(), "c1"));
  directory_.emplace(std::move(state));
  StartServer(std::chrono::milliseconds(50));
  AwaitServerEnd();
  EXPECT_FALSE(PathExists(directory_->path()));
}

// --- the machine's death ---

TEST_F(SandboxServerTest, DeathOfTheMachineStopsTheContainer) {
  ClientProcess process = Run({"sleep"});
  script_->KillMachine("signal 9 (killed)");
  EXPECT_EQ(process.AwaitExit(), 255);
  EXPECT_EQ(ClientProcess::ReadAll(process.stderr_read),
            "kata-runtime: container 'c1': the virtual machine ended: signal 9 (killed)\n");
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.status, "stopped");
  EXPECT_EQ(state.exit_code, 255);
  EXPECT_EQ(state.error, "the virtual machine ended: signal 9 (killed)");
  EXPECT_THAT(Kill(SIGTERM), IsError(_, "container not running"));
  EXPECT_OK(Delete());
}

TEST_F(SandboxServerTest, CallUnderWayFailsWithTheReasonOfTheDeath) {
  script_->Set({.create_hangs = true});
  ClientProcess process = Attach();
  std::thread killer([&] {
    AwaitEvent("create-container c1");
    script_->KillMachine("signal 11");
  });
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kInternal, "the virtual machine ended: signal 11"));
  killer.join();
}

}  // namespace
}  // namespace kata::sandbox
