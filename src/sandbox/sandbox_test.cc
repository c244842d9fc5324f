// What clients ask of the sandbox server, and get.
#include "oci/hook_time_limit.h"
#include "sandbox/hooks.h"
#include "sandbox/sandbox_server_test.h"

namespace kata::sandbox {
namespace {

TEST_F(SandboxServerTest, CreateStartExitDelete) {
  ClientProcess process = Attach();
  ASSERT_OK_AND_ASSIGN(const task::CreateTaskResponse created, Create({"echo", "hello"}));
  EXPECT_EQ(created.pid(), static_cast<uint32_t>(process.stand_in.pid()));
  ASSERT_OK_AND_ASSIGN(ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.status, "created");
  EXPECT_EQ(state.shim.pid, process.stand_in.pid());
  EXPECT_EQ(state.server.pid, getpid());
  EXPECT_EQ(state.vmm.pid, getpid());
  EXPECT_TRUE(IsAlive(state.shim));
  ASSERT_OK_AND_ASSIGN(task::StateResponse response, State());
  EXPECT_EQ(response.status(), task::CREATED);
  ASSERT_OK(process.attachment->Commit());

  ASSERT_OK(Start());
  EXPECT_EQ(ClientProcess::ReadAll(process.stdout_read), "hello");
  EXPECT_EQ(ClientProcess::ReadAll(process.stderr_read), "hello");
  EXPECT_EQ(process.AwaitExit(), 0);
  ASSERT_OK_AND_ASSIGN(task::WaitResponse waited, Wait());
  EXPECT_EQ(waited.exit_status(), 0u);
  EXPECT_GT(waited.exited_at().seconds(), 0);
  ASSERT_OK_AND_ASSIGN(state, directory_->ReadState());
  EXPECT_EQ(state.status, "stopped");
  AwaitEvent("stop");  // the machine is not kept for a container that has ended
  ASSERT_OK_AND_ASSIGN(response, State());
  EXPECT_EQ(response.status(), task::STOPPED);

  ASSERT_OK_AND_ASSIGN(const task::DeleteResponse deleted, Delete());
  EXPECT_EQ(deleted.exit_status(), 0u);
  EXPECT_EQ(deleted.pid(), static_cast<uint32_t>(process.stand_in.pid()));
  EXPECT_THAT(State(), IsError(Code::kNotFound, HasSubstr("container does not exist")));
  EXPECT_OK(Call<Empty>("Shutdown", task::ShutdownRequest()));
  AwaitServerEnd();
  EXPECT_THAT(script_->events(), ElementsAre("start", "create-sandbox c1", "share c1", "create-container c1",
                                             "destroy-sandbox", "stop"));
}

TEST_F(SandboxServerTest, ExitCodeAndSpecInTheGuest) {
  ClientProcess process = Run({"exit", "42"});
  EXPECT_EQ(process.AwaitExit(), 42);
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.exit_code, 42);
  EXPECT_EQ(state.error, "");
  const grpc::CreateContainerRequest request = script_->created();
  EXPECT_EQ(request.exec_id(), "c1");
  EXPECT_EQ(request.oci().root().path(), "/guest/c1");
  EXPECT_EQ(request.oci().linux().cgroupspath(), "/kata/c1");
  ASSERT_EQ(request.oci().linux().namespaces_size(), 2);
  EXPECT_EQ(request.oci().linux().namespaces(0).type(), "pid");
  EXPECT_EQ(request.oci().linux().namespaces(1).type(), "mount");
}

TEST_F(SandboxServerTest, StdinReachesTheProcessAndEnds) {
  ClientProcess process = Run({"cat"});
  ASSERT_OK(WriteAll(process.stdin_write.get(), "some input"));
  process.stdin_write.Reset();
  EXPECT_EQ(ClientProcess::ReadAll(process.stdout_read), "some input");
  EXPECT_EQ(process.AwaitExit(), 0);
}

TEST_F(SandboxServerTest, SignalsReachTheProcess) {
  ClientProcess process = Run({"sleep"});
  ASSERT_OK(Kill(SIGUSR1));
  process.Send(ShimMessageType::kSignal, SIGHUP);
  AwaitEvent("signal c1/c1 1");
  EXPECT_THAT(script_->events(), Contains("signal c1/c1 10"));
  ASSERT_OK(Kill(SIGUSR2, "", /*all=*/true));
  EXPECT_THAT(script_->events(), Contains("signal c1/ 12 all"));
  EXPECT_THAT(Kill(99), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Delete(), IsError(Code::kFailedPrecondition, HasSubstr("not stopped: running")));
  ASSERT_OK(Kill(SIGTERM));
  EXPECT_EQ(process.AwaitExit(), 143);
  EXPECT_THAT(Kill(SIGTERM), IsError(_, "container not running"));
  EXPECT_OK(Kill(SIGKILL, "", /*all=*/true));
}

TEST_F(SandboxServerTest, DeathOfTheStandInIsTheDeathOfTheContainer) {
  ClientProcess process = Run({"sleep"});
  process.channel.Reset();
  ASSERT_OK_AND_ASSIGN(const task::WaitResponse waited, Wait());
  EXPECT_EQ(waited.exit_status(), 137u);
  EXPECT_THAT(script_->events(), Contains("signal c1/ 9"));
}

TEST_F(SandboxServerTest, ExecRunsBesideInit) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("cat")"));
  EXPECT_THAT(Exec("e1", R"("cat")"), Not(IsOk()));
  ASSERT_OK_AND_ASSIGN(const task::StartResponse started, Start("e1"));
  EXPECT_EQ(started.pid(), static_cast<uint32_t>(exec.stand_in.pid()));
  ASSERT_OK_AND_ASSIGN(const task::PidsResponse pids, Call<task::PidsResponse>("Pids", [] {
                         task::PidsRequest request;
                         request.set_id("c1");
                         return request;
                       }()));
  EXPECT_EQ(pids.processes_size(), 2);
  EXPECT_THAT(Delete("e1"), IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK(WriteAll(exec.stdin_write.get(), "in"));
  exec.stdin_write.Reset();
  EXPECT_EQ(ClientProcess::ReadAll(exec.stdout_read), "in");
  EXPECT_EQ(exec.AwaitExit(), 0);
  EXPECT_THAT(Kill(SIGTERM, "e1"), IsError(Code::kNotFound, HasSubstr("process already finished")));
  ASSERT_OK(Delete("e1"));
  EXPECT_THAT(State("e1"), IsErrorCode(Code::kNotFound));
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
}

TEST_F(SandboxServerTest, ExecOfAMissingProgramNamesIt) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("nosuch")"));
  EXPECT_THAT(Start("e1"), IsError(Code::kNotFound, HasSubstr("'nosuch': executable file not found")));
  exec.attachment.reset();  // the client gives up: the process is forgotten
  const Deadline deadline = Deadline::After(kTimeout);
  while (State("e1") && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_THAT(State("e1"), IsErrorCode(Code::kNotFound));
}

TEST_F(SandboxServerTest, ExecsEndWithInit) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  ASSERT_OK(Start("e1"));
  ASSERT_OK(exec.attachment->Commit());
  ASSERT_OK(Kill(SIGKILL));
  EXPECT_EQ(init.AwaitExit(), 137);
  EXPECT_EQ(exec.AwaitExit(), 137);
  AwaitEvent("stop");
  EXPECT_THAT(Exec("e2", R"("sleep")"), Not(IsOk()));
}

TEST_F(SandboxServerTest, DetachedExecIsForgottenWhenItHasEnded) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  ASSERT_OK(Start("e1"));
  ASSERT_OK(exec.attachment->Commit());
  exec.attachment.reset();
  ASSERT_OK(State("e1"));
  ASSERT_OK(Kill(SIGKILL, "e1"));
  EXPECT_EQ(exec.AwaitExit(), 137);
  const Deadline deadline = Deadline::After(kTimeout);
  while (State("e1") && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_THAT(State("e1"), IsErrorCode(Code::kNotFound));
}

TEST_F(SandboxServerTest, AbandonedExecIsKilled) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  ASSERT_OK(Start("e1"));
  exec.attachment.reset();
  EXPECT_EQ(exec.AwaitExit(), 137);
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
}

TEST_F(SandboxServerTest, ExecAbandonedWhileItStartsIsKilled) {
  ClientProcess init = Run({"sleep"});
  ClientProcess exec = Attach("e1");
  ASSERT_OK(Exec("e1", R"("sleep")"));
  script_->Set({.exec_hangs = true});
  std::thread starter([&] { EXPECT_THAT(Start("e1"), IsError(_, HasSubstr("given up"))); });
  AwaitEvent("exec c1/e1");
  exec.attachment.reset();
  EXPECT_EQ(exec.AwaitExit(), 137);
  script_->Set({});
  starter.join();
  AwaitEvent("signal c1/e1 9");
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::RUNNING);
}

TEST_F(SandboxServerTest, PauseResumeUpdateResize) {
  ClientProcess process = Run({"sleep"});
  task::PauseRequest pause;
  pause.set_id("c1");
  ASSERT_OK(Call<Empty>("Pause", pause));
  ASSERT_OK_AND_ASSIGN(task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::PAUSED);
  EXPECT_THAT(Call<Empty>("Pause", pause), IsErrorCode(Code::kFailedPrecondition));
  ClientProcess exec = Attach("e1");
  EXPECT_THAT(Exec("e1", R"("cat")"), IsError(_, HasSubstr("paused")));
  task::ResumeRequest resume;
  resume.set_id("c1");
  ASSERT_OK(Call<Empty>("Resume", resume));
  EXPECT_THAT(Call<Empty>("Resume", resume), IsError(_, HasSubstr("not paused")));
  ASSERT_OK_AND_ASSIGN(state, State());
  EXPECT_EQ(state.status(), task::RUNNING);

  task::UpdateTaskRequest update;
  update.set_id("c1");
  update.mutable_resources()->set_value(R"({"memory": {"limit": 1048576}})");
  ASSERT_OK(Call<Empty>("Update", update));
  update.mutable_resources()->set_value("{");
  EXPECT_THAT(Call<Empty>("Update", update), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(script_->events(), Contains("update 1048576"));
  task::ResizePtyRequest resize;
  resize.set_id("c1");
  EXPECT_THAT(Call<Empty>("ResizePty", resize), IsError(_, HasSubstr("no terminal")));
}

TEST_F(SandboxServerTest, AnUpdateResizesTheMachine) {
  ClientProcess process = Run({"sleep"});
  task::UpdateTaskRequest update;
  update.set_id("c1");
  update.mutable_resources()->set_value(
      R"({"memory": {"limit": 1073741824}, "cpu": {"quota": 250000, "period": 100000}})");
  ASSERT_OK(Call<Empty>("Update", update));
  update.mutable_resources()->set_value(R"({"memory": {"limit": 536870912}})");
  ASSERT_OK(Call<Empty>("Update", update));
  // What grows does so before the limit is raised, what shrinks after it was lowered.
  AwaitEvent("online 0 cpus and memory");
  EXPECT_THAT(Events({"resize", "online", "update"}),
              ElementsAre("resize to 3 vcpus 1088 MiB", "online 2 cpus and memory", "update 1073741824",
                          "update 536870912", "resize to 3 vcpus 576 MiB", "online 0 cpus and memory"));
}

TEST_F(SandboxServerTest, UpdatesAreDoneOneAfterTheOther) {
  ClientProcess process = Run({"sleep"});
  task::UpdateTaskRequest update;
  update.set_id("c1");
  // The second is there before the first is done, and counts on what that leaves.
  std::vector<std::future<Result<Empty>>> answers;
  for (const char* resources :
       {R"({"memory": {"limit": 1073741824}})", R"({"memory": {"swap": 2147483648}})"}) {
    update.mutable_resources()->set_value(resources);
    auto answer = std::make_shared<std::promise<Result<Empty>>>();
    answers.push_back(answer->get_future());
    client_->Call<Empty>(std::string(protocol::kTaskService), "Update", update, kTimeout,
                         [answer](Result<Empty> result) { answer->set_value(std::move(result)); });
  }
  for (std::future<Result<Empty>>& answer : answers) EXPECT_OK(answer.get());
  EXPECT_THAT(Events({"update"}), ElementsAre("update 1073741824", "update 1073741824"));
}

TEST_F(SandboxServerTest, AnUpdateThatFailsChangesNothing) {
  // The control group of the container on the host: a directory of plain files.
  const std::string group = dir_->path() + "/group";
  ASSERT_OK(MakeDirectories(group));
  ASSERT_OK(WriteFileAtomic(group + "/cgroup.procs", ""));
  ASSERT_OK(WriteFileAtomic(group + "/cpu.shares", "1024\n"));
  ContainerState state;
  state.id = state.sandbox_id = "c1";
  state.cgroups = {{"cpu", group}};
  ASSERT_OK(directory_->WriteState(state));
  ClientProcess process = Run({"sleep"});
  script_->Set({.update_fails = true});
  task::UpdateTaskRequest update;
  update.set_id("c1");
  update.mutable_resources()->set_value(R"({"memory": {"limit": 1073741824}, "cpu": {"shares": 2048}})");
  EXPECT_THAT(Call<Empty>("Update", update), IsError(Code::kInvalidArgument, HasSubstr("it cannot be")));
  EXPECT_EQ(*ReadFile(group + "/cpu.shares"), "1024\n");
  script_->Set({});
  update.mutable_resources()->set_value(R"({"memory": {"swap": -1}, "cpu": {"shares": 4096}})");
  ASSERT_OK(Call<Empty>("Update", update));
  EXPECT_EQ(*ReadFile(group + "/cpu.shares"), "4096\n");
  AwaitEvent("resize to 1 vcpus 256 MiB");
  EXPECT_THAT(Events({"update"}), ElementsAre("update 1073741824", "update 0"));
  ASSERT_OK(RemoveTree(group));  // in the kernel's own, files are no obstacle
}

TEST_F(SandboxServerTest, AMachineThatCannotGrowIsNoFailure) {
  script_->Set({.fixed_size = true});
  ClientProcess process = Run({"sleep"});
  task::UpdateTaskRequest update;
  update.set_id("c1");
  update.mutable_resources()->set_value(R"({"memory": {"limit": 1073741824}})");
  ASSERT_OK(Call<Empty>("Update", update));
  EXPECT_THAT(Events({"resize", "online", "update"}),
              ElementsAre("resize to 1 vcpus 1088 MiB", "update 1073741824"));
}

TEST_F(SandboxServerTest, DeleteOfACreatedContainerEndsIt) {
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  ASSERT_OK(process.attachment->Commit());
  EXPECT_OK(Delete());
  EXPECT_EQ(process.AwaitExit(), 137);
  EXPECT_THAT(State(), IsErrorCode(Code::kNotFound));
}

TEST_F(SandboxServerTest, HooksRunAtTheirPoints) {
  AddHook("prestart", "cat > $D/state; pwd >> $D/trace; echo prestart >> $D/trace");
  AddHook("createRuntime", "echo createRuntime >> $D/trace");
  AddHook("createContainer", "basename $PWD >> $D/trace");
  AddHook("poststart", "cat > $D/poststart-state; echo poststart >> $D/trace");
  AddHook("poststop", "test ! -e $D/root/c1; echo poststop $? >> $D/trace");
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  const std::string at_creation = dir_->path() + "/bundle1\nprestart\ncreateRuntime\nrootfs\n";
  EXPECT_EQ(Trace(), at_creation);
  ASSERT_OK_AND_ASSIGN(const std::string state, ReadFile(dir_->path() + "/state"));
  EXPECT_EQ(state,
            fmt::format(R"({{"ociVersion":"1.2.0","id":"c1","status":"creating","pid":{},"bundle":"{}"}})",
                        process.stand_in.pid(), dir_->path() + "/bundle1"));
  ASSERT_OK(Start());
  EXPECT_EQ(Trace(), at_creation + "poststart\n");
  ASSERT_OK_AND_ASSIGN(const std::string running, ReadFile(dir_->path() + "/poststart-state"));
  EXPECT_THAT(running, HasSubstr(R"("status":"running")"));
  // Nobody says that the container is wanted: the server itself ends it, and runs the last hooks.
  process.attachment.reset();
  AwaitServerEnd();
  EXPECT_EQ(Trace(), at_creation + "poststart\npoststop 0\n");
}

TEST_F(SandboxServerTest, HooksInTheGuestHaveTheirOwnTimeAndTheBundleOfTheHost) {
  AddHook("startContainer", "true");
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  EXPECT_EQ(script_->created().bundle(), dir_->path() + "/bundle1");
  ASSERT_OK_AND_ASSIGN(const oci::Hooks hooks, directory_->ReadHooks());
  EXPECT_GE(StartTimeLimit(hooks), oci::kHookTimeLimit);  // for the client that starts it
  ASSERT_OK(Start());
  // A hook without a time-out may take an hour, besides what the start itself may.
  EXPECT_GT(script_->start_limit(), oci::kHookTimeLimit + std::chrono::seconds(30));
}

TEST_F(SandboxServerTest, AHookThatFailsEndsTheCreation) {
  AddHook("createRuntime", "echo cause >&2; exit 4");
  AddHook("poststop", "echo poststop >> $D/trace");
  ClientProcess process = Attach();
  EXPECT_THAT(Create({"sleep"}),
              IsError(Code::kAborted, testing::AllOf(HasSubstr("createRuntime hook #0 '/bin/sh'"),
                                                     HasSubstr("exit status 4: cause"))));
  EXPECT_THAT(script_->events(), testing::IsEmpty());  // no machine for nothing
  process.attachment.reset();
  AwaitServerEnd();
  EXPECT_EQ(Trace(), "poststop\n");
}

TEST_F(SandboxServerTest, AHookUnderWayIsCancelledWithTheCreation) {
  AddHook("prestart", "echo begun >> $D/trace; exec sleep 1000");
  ClientProcess process = Attach();
  std::thread client([this] {
    const Deadline deadline = Deadline::After(kTimeout);
    while (Trace().empty() && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_OK(Kill(SIGKILL));
  });
  EXPECT_THAT(Create({"sleep"}), IsErrorCode(Code::kCancelled));
  client.join();
}

TEST_F(SandboxServerTest, APoststartHookThatFailsKillsTheContainer) {
  AddHook("poststart", "exit 5");
  ClientProcess process = Attach();
  ASSERT_OK(Create({"sleep"}));
  EXPECT_THAT(Start(), IsError(Code::kAborted, HasSubstr("poststart hook #0 '/bin/sh': exit status 5")));
  EXPECT_EQ(process.AwaitExit(), 137);
  ASSERT_OK_AND_ASSIGN(const task::StateResponse state, State());
  EXPECT_EQ(state.status(), task::STOPPED);
}

TEST_F(SandboxServerTest, EventsAreWaitedFor) {
  const auto wait = [this](uint64_t known, uint32_t timeout_ms) {
    monitor::WaitEventRequest request;
    request.set_id("c1");
    request.set_oom_kills(known);
    request.set_timeout_ms(timeout_ms);
    return client_->CallSync<monitor::WaitEventResponse>(std::string(protocol::kMonitorService), "WaitEvent",
                                                         request, kTimeout);
  };
  ClientProcess process = Run({"sleep"});
  ASSERT_OK_AND_ASSIGN(monitor::WaitEventResponse event, wait(0, 20));
  EXPECT_EQ(event.oom_kills(), 0u);
  script_->AddOom("c1");
  ASSERT_OK_AND_ASSIGN(event, wait(0, 60000));
  EXPECT_EQ(event.oom_kills(), 1u);
  EXPECT_FALSE(event.stopped());
  std::thread client([this] { EXPECT_OK(Kill(SIGTERM)); });
  ASSERT_OK_AND_ASSIGN(event, wait(1, 60000));
  EXPECT_TRUE(event.stopped());
  client.join();
}

TEST_F(SandboxServerTest, StatisticsAreTheGuests) {
  monitor::StatsRequest request;
  request.set_id("c1");
  const auto stats = [&] {
    return client_->CallSync<grpc::StatsContainerResponse>(std::string(protocol::kMonitorService), "Stats",
                                                           request, kTimeout);
  };
  EXPECT_THAT(stats(), IsErrorCode(Code::kNotFound));
  ClientProcess process = Run({"sleep"});
  ASSERT_OK_AND_ASSIGN(const grpc::StatsContainerResponse response, stats());
  EXPECT_EQ(response.cgroup_stats().pids_stats().current(), 7u);
}

TEST_F(SandboxServerTest, RefusalsNameTheReason) {
  EXPECT_THAT(State(), IsError(Code::kNotFound, HasSubstr("container does not exist")));
  EXPECT_THAT(Kill(SIGTERM), IsError(Code::kNotFound, HasSubstr("container does not exist")));
  EXPECT_THAT(Start(), IsError(Code::kNotFound, HasSubstr("container does not exist")));
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kFailedPrecondition, HasSubstr("no kata-shim is attached")));
  ClientProcess process = Run({"sleep"});
  EXPECT_THAT(Create({"sleep"}), IsError(Code::kAlreadyExists, "container with given ID already exists"));
  EXPECT_THAT(Start(), IsError(_, "cannot start an already running container"));
  EXPECT_THAT(Start("e1"), IsErrorCode(Code::kNotFound));
  task::CheckpointTaskRequest checkpoint;
  EXPECT_THAT(Call<Empty>("Checkpoint", checkpoint), IsErrorCode(Code::kUnimplemented));
  task::StatsRequest stats;
  EXPECT_THAT(Call<Empty>("Stats", stats), IsErrorCode(Code::kUnimplemented));
  EXPECT_OK(
      Call<Empty>("Shutdown", task::ShutdownRequest()));  // without "now" it is for an empty sandbox only
  EXPECT_OK(State());
}

TEST_F(SandboxServerTest, LargeOutputArrivesWholeBeforeTheExitCode) {
  ClientProcess process = Run({"write-and-exit"});
  EXPECT_EQ(ClientProcess::ReadAll(process.stdout_read).size(), size_t{1} << 20);
  EXPECT_EQ(process.AwaitExit(), 0);
}

TEST_F(SandboxServerTest, ProcessGoesOnWithoutAReader) {
  ClientProcess process = Run({"flood"});
  process.stdout_read.Reset();
  ASSERT_OK(Kill(SIGTERM));
  EXPECT_EQ(process.AwaitExit(), 143);
}

TEST_F(SandboxServerTest, SignalToTheServerEndsAll) {
  ClientProcess process = Run({"sleep"});
  kill(getpid(), SIGTERM);
  AwaitServerEnd();
  EXPECT_EQ(process.AwaitExit(), 137);
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory_->ReadState());
  EXPECT_EQ(state.status, "stopped");
  EXPECT_THAT(script_->events(), Contains("stop"));
}

}  // namespace
}  // namespace kata::sandbox
