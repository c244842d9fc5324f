// A guest that was up and does not answer any more, or does not do what it is asked for: what ends it, and
// what does not.
#include "sandbox/sandbox_server_test.h"

namespace kata::sandbox {
namespace {

class SilentGuestTest : public SandboxServerTest {
 protected:
  SilentGuestTest() {
    patience_ = {.check_interval = std::chrono::milliseconds(20),
                 .check = std::chrono::milliseconds(500),
                 .kill = std::chrono::milliseconds(300),
                 .dying = std::chrono::milliseconds(300)};
  }
  // Another container in the same machine.
  ClientProcess RunSecond() {
    EXPECT_OK(StateDirectory::Create(root(), "c2"));
    ClientProcess process = Attach("", "c2");
    task::CreateTaskRequest create;
    create.set_id("c2");
    create.set_bundle(Bundle({"sleep"}));
    EXPECT_OK(Call<task::CreateTaskResponse>("Create", create));
    task::StartRequest start;
    start.set_id("c2");
    EXPECT_OK(Call<task::StartResponse>("Start", start));
    EXPECT_OK(process.attachment->Commit());
    return process;
  }
  // In the place of a VMM that somebody has stopped.
  pid_t StoppedProcess() {
    vmm_ = std::move(*Spawn(Command{.program = "sleep", .args = {"1000"}}));
    EXPECT_OK(vmm_.Signal(SIGSTOP));
    const Deadline deadline = Deadline::After(kTimeout);
    while (ProcessState(vmm_.pid()).value_or('?') != 'T' && !deadline.Passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return vmm_.pid();
  }
  void AwaitEvents(const std::string& event, int count) {
    const Deadline deadline = Deadline::After(kTimeout);
    const auto seen = [&] {
      const std::vector<std::string> events = script_->events();
      return std::count(events.begin(), events.end(), event);
    };
    while (seen() < count && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_GE(seen(), count) << event;
  }

  ChildProcess vmm_;
};

TEST_F(SilentGuestTest, TheMachineOfAnAgentThatFallsSilentIsEnded) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.agent_silent = true});
  EXPECT_EQ(process.AwaitExit(), 255);
  EXPECT_EQ(
      ClientProcess::ReadAll(process.stderr_read),
      "kata-runtime: container 'c1': the virtual machine ended: the agent in the guest does not answer any "
      "more\n");
  AwaitEvent("stop");
  AwaitEvents("check", 2);
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.status, "stopped");
  EXPECT_THAT(state.error, HasSubstr("does not answer any more"));
  EXPECT_OK(Delete());
}

TEST_F(SilentGuestTest, AnAgentThatAnswersLateIsLeftAlone) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.agent_late = true});
  AwaitEvents("check", 4);
  EXPECT_OK(Kill(SIGTERM));
  EXPECT_EQ(process.AwaitExit(), 143);
}

TEST_F(SilentGuestTest, AMachineThatTheHostKeepsFromRunningIsLeftAlone) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.agent_silent = true, .vmm_pid = StoppedProcess()});
  AwaitEvents("check", 4);
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
  ASSERT_OK(vmm_.Signal(SIGCONT));
  EXPECT_EQ(process.AwaitExit(), 255);
}

TEST_F(SilentGuestTest, WhatMayHaveStartedAfterAllIsEnded) {
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  script_->Set({.start_late = true});
  EXPECT_THAT(Start(), IsError(Code::kDeadlineExceeded, "too late"));
  EXPECT_EQ(process.AwaitExit(), 137);
  EXPECT_OK(Delete());
}

TEST_F(SilentGuestTest, SoIsAnAdditionalProcess) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  script_->Set({.start_late = true});
  EXPECT_THAT(Start("e1"), IsError(Code::kDeadlineExceeded, "too late"));
  AwaitEvent("signal c1/e1 9");
}

TEST_F(SilentGuestTest, SigkillTakesTheMachineAlong) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.signal_hangs = true});
  EXPECT_OK(Kill(SIGKILL));
  EXPECT_EQ(process.AwaitExit(), 137);
  EXPECT_EQ(
      ClientProcess::ReadAll(process.stderr_read),
      "kata-runtime: container 'c1': the virtual machine ended: the agent in the guest does not answer to "
      "SIGKILL\n");
  AwaitEvent("stop");
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.exit_code, 137);
  EXPECT_THAT(Kill(SIGKILL), IsError(_, "container not running"));
  EXPECT_OK(Delete());
}

TEST_F(SilentGuestTest, SoDoesTheEndOfTheStandIn) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.signal_hangs = true});
  process.channel.Reset();
  ASSERT_OK_AND_ASSIGN(const task::WaitResponse waited, Wait());
  EXPECT_EQ(waited.exit_status(), 137u);
}

TEST_F(SilentGuestTest, DeletionOfAContainerThatWasNotStarted) {
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  ASSERT_OK(process.attachment->Commit());
  script_->Set({.signal_hangs = true});
  ASSERT_OK_AND_ASSIGN(const task::DeleteResponse deleted, Delete());
  EXPECT_EQ(deleted.exit_status(), 137u);
}

TEST_F(SilentGuestTest, OtherSignalsOnlyWaitForTheirAnswer) {
  ClientProcess process = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  ASSERT_OK(Start("e1"));
  script_->Set({.agent_silent = true, .signal_hangs = true, .vmm_pid = StoppedProcess()});
  exec.Send(ShimMessageType::kSignal, SIGKILL);
  process.Send(ShimMessageType::kSignal, SIGUSR1);
  AwaitEvent("signal c1/c1 10");
  AwaitEvents("check", 3);  // longer than SIGKILL would have waited
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
}

TEST_F(SilentGuestTest, SigkillOfOneContainerSparesTheOthers) {
  ClientProcess first = Run({"sleep"});
  ClientProcess second = RunSecond();
  script_->Set({.agent_silent = true, .signal_hangs = true, .vmm_pid = StoppedProcess()});
  second.channel.Reset();
  AwaitEvent("signal c2/ 9");
  AwaitEvents("check", 3);
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
  // Now nothing is wanted any more.
  EXPECT_OK(Kill(SIGKILL));
  EXPECT_EQ(first.AwaitExit(), 137);
}

TEST_F(SilentGuestTest, AnAnswerToSigkillIsNoEnd) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.undead = true});
  EXPECT_OK(Kill(SIGKILL));
  EXPECT_EQ(process.AwaitExit(), 137);
  EXPECT_EQ(
      ClientProcess::ReadAll(process.stderr_read),
      "kata-runtime: container 'c1': the virtual machine ended: its processes do not end after SIGKILL\n");
  AwaitEvent("stop");
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.error, "the virtual machine ended: its processes do not end after SIGKILL");
  EXPECT_OK(Delete());
}

TEST_F(SilentGuestTest, NorIsOneToTheEndOfTheStandIn) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.undead = true});
  process.channel.Reset();
  ASSERT_OK_AND_ASSIGN(const task::WaitResponse waited, Wait());
  EXPECT_EQ(waited.exit_status(), 137u);
}

class SlowDeathTest : public SilentGuestTest {
 protected:
  SlowDeathTest() { patience_.dying = kTimeout; }
};

TEST_F(SlowDeathTest, AContainerThatIsSlowToDieIsLeftAlone) {
  ClientProcess process = Run({"sleep"});
  script_->Set({.agent_late = true, .undead = true});
  EXPECT_OK(Kill(SIGKILL));
  AwaitEvents("check", 3);  // longer than the answer would have been waited for
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
  script_->Set({});
  EXPECT_OK(Kill(SIGKILL));
  EXPECT_EQ(process.AwaitExit(), 137);
  EXPECT_EQ(ClientProcess::ReadAll(process.stderr_read), "");
}

// Engines that have killed kata-shim do not come back.
TEST_F(SlowDeathTest, AContainerThatHasLostItsStandInIsDeletedWhenItDies) {
  ClientProcess first = Run({"sleep"});
  {
    ClientProcess second = RunSecond();
    script_->Set({.undead = true});
    EXPECT_THAT(Delete("", "c2"), IsErrorCode(Code::kFailedPrecondition));
    ASSERT_OK(second.stand_in.Terminate(std::chrono::seconds(0)));
    second.channel.Reset();
    AwaitEvent("signal c2/ 9");
    EXPECT_OK(Delete("", "c2"));
    EXPECT_OK(State("", "c2")) << "what it uses is not free yet";
  }
  script_->Set({});
  EXPECT_OK(Kill(SIGKILL, "", /*all=*/true, "c2"));
  AwaitEvent("unshare c2");
  const Deadline deadline = Deadline::After(kTimeout);
  while (PathExists(root() + "/c2") && !deadline.Passed())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ClientProcess later = RunSecond();
}

TEST_F(SilentGuestTest, TheMachineGoesWithTheLastThatCanDie) {
  ClientProcess first = Run({"sleep"});
  ClientProcess second = RunSecond();
  script_->Set({.agent_late = true, .undead = true});
  second.channel.Reset();
  AwaitEvent("signal c2/ 9");
  AwaitEvents("check", 4);
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
  script_->Set({});
  EXPECT_OK(Kill(SIGTERM));
  EXPECT_EQ(first.AwaitExit(), 143);
  AwaitEvent("stop");
}

}  // namespace
}  // namespace kata::sandbox
