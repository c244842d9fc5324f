// The whole sandbox server through its sockets, with a fake guest behind it.
#include "sandbox/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "base/shim_message.h"
#include "proto/monitor.pb.h"
#include "proto/task.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "sandbox/fake_guest.h"
#include "sandbox/hooks.h"
#include "sandbox/server.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/client.h"

namespace kata::sandbox {
namespace {

namespace task = containerd::task::v2;
namespace monitor = kata::sandbox::v1;
using kata::test::IsError;
using kata::test::IsErrorCode;
using kata::test::IsOk;
using test::FakeGuestScript;
using test::FakeMachine;
using testing::_;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::seconds kTimeout{60};

// What a client has in hands of one process: its stand-in, and the other ends of its stdio.
struct ClientProcess {
  ChildProcess stand_in;
  UniqueFd channel;  // kata-shim's end
  UniqueFd stdin_write, stdout_read, stderr_read;
  std::optional<Attachment> attachment;

  // All output until its end.
  static std::string ReadAll(const UniqueFd& fd) {
    Result<std::string> data = ReadFd(fd.get());
    return data ? *data : data.error().message();
  }
  // The exit code that kata-shim is told; -1: the channel was closed without one.
  int AwaitExit() {
    EXPECT_OK(WaitFd(channel.get(), POLLIN, Deadline::After(kTimeout), "the exit code"));
    ShimMessage message{};
    const ssize_t size = recv(channel.get(), &message, sizeof(message), MSG_DONTWAIT);
    if (size != sizeof(message) || message.type != ShimMessageType::kExit) return -1;
    return static_cast<int>(message.a);
  }
  void Send(ShimMessageType type, uint32_t a, uint32_t b = 0) {
    const ShimMessage message{type, a, b};
    EXPECT_EQ(send(channel.get(), &message, sizeof(message), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(message)));
  }
};

class SandboxServerTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    ASSERT_OK_AND_ASSIGN(StateDirectory state, StateDirectory::Create(root(), "c1"));
    directory_.emplace(state);
    StartServer();
  }
  void TearDown() override {
    client_.reset();
    if (server_.joinable()) {
      // An abandoned server takes its socket's name away meanwhile.
      if (Result<UniqueFd> alive = directory_->ConnectTask()) {
        UseConnection(std::move(*alive));
        // A server that was abandoned ends by itself, perhaps at this very moment.
        const Result<Empty> ended = Call<Empty>("Shutdown", Now());
        EXPECT_TRUE(ended || ended.error().code() == Code::kUnavailable) << ended.error().message();
        client_.reset();
      }
      server_.join();
    }
  }

  std::string root() const { return dir_->path() + "/root"; }

  void StartServer(std::chrono::milliseconds idle_timeout = std::chrono::seconds(60)) {
    ServerOptions options;
    options.id = "c1";
    options.state_directory = directory_->path();
    options.config.agent.dial_timeout = std::chrono::seconds(3);
    options.config.hypervisor.default_max_vcpus = 8;
    options.config.hypervisor.default_max_memory_mib = 8192;
    // Stand-ins live in the network namespace of the test, which nothing may be done to; see
    // guest_network_test.cc.
    options.config.runtime.internetworking_model = "none";
    options.idle_timeout = idle_timeout;
    ASSERT_OK_AND_ASSIGN(options.task_socket, directory_->ListenTask());
    ASSERT_OK_AND_ASSIGN(options.attach_socket, directory_->ListenAttach());
    options.machine_factory = [script = script_](EventLoop& loop,
                                                 MachineOptions machine) -> Result<std::unique_ptr<Machine>> {
      return std::unique_ptr<Machine>(std::make_unique<FakeMachine>(loop, std::move(machine), script));
    };
    server_ =
        std::thread([options = std::move(options)]() mutable { EXPECT_OK(RunServer(std::move(options))); });
    Connect();
  }

  void Connect() {
    ASSERT_OK_AND_ASSIGN(UniqueFd socket, directory_->ConnectTask());
    UseConnection(std::move(socket));
  }
  void UseConnection(UniqueFd socket) {
    client_ = std::make_unique<ttrpc::Client>(client_thread_.loop(), std::move(socket));
  }

  template <typename Response, typename Request>
  Result<Response> Call(const std::string& method, const Request& request) {
    return client_->CallSync<Response>(std::string(protocol::kTaskService), method, request, kTimeout);
  }

  static task::ShutdownRequest Now() {
    task::ShutdownRequest request;
    request.set_now(true);
    return request;
  }

  // The events that begin with one of these words.
  std::vector<std::string> Events(const std::vector<std::string>& words) const {
    std::vector<std::string> events = script_->events();
    std::erase_if(events, [&](const std::string& event) {
      return std::none_of(words.begin(), words.end(),
                          [&](const std::string& word) { return event.starts_with(word + " "); });
    });
    return events;
  }

  // A bundle whose process has these args.
  std::string Bundle(const std::vector<std::string>& args) {
    const std::string bundle = dir_->path() + fmt::format("/bundle{}", ++bundles_);
    EXPECT_OK(MakeDirectories(bundle + "/rootfs"));
    std::string list;
    for (const std::string& arg : args) list += (list.empty() ? "\"" : ", \"") + arg + "\"";
    EXPECT_OK(WriteFileAtomic(bundle + "/config.json", fmt::format(R"({{
        "ociVersion": "1.2.0", "root": {{"path": "rootfs"}}, "hostname": "host", "hooks": {{{}}},
        "process": {{"args": [{}], "cwd": "/", "user": {{"uid": 0, "gid": 0}}, "env": ["A=b"]}},
        "linux": {{"namespaces": [{{"type": "pid"}}, {{"type": "network", "path": "/proc/1/ns/net"}},
                                  {{"type": "mount"}}]}}}})",
                                                                   hooks_, list)));
    return bundle;
  }

  // In the bundles to come, a hook that runs a line of shell with the directory of the test as $D.
  void AddHook(const std::string& point, const std::string& script) {
    hooks_ += fmt::format(R"({}"{}": [{{"path": "/bin/sh", "args": ["sh", "-c", "{}"],
                              "env": ["PATH=/usr/bin:/bin", "D={}"]}}])",
                          hooks_.empty() ? "" : ", ", point, script, dir_->path());
  }
  std::string Trace() {
    const Result<std::string> text = ReadFile(dir_->path() + "/trace");
    return text ? *text : "";
  }

  ClientProcess Attach(const std::string& exec_id = "") {
    ClientProcess process;
    SocketPairEnds channel = *MakeSocketPair(SOCK_SEQPACKET);
    PipeEnds in = *MakePipe(), out = *MakePipe(), err = *MakePipe();
    process.stand_in = std::move(*Spawn(Command{.program = "sleep", .args = {"1000"}}));
    AttachRequest request;
    request.id = "c1";
    request.exec_id = exec_id;
    request.shim_pid = process.stand_in.pid();
    request.channel = std::move(channel.first);
    request.stdin_fd = std::move(in.read);
    request.stdout_fd = std::move(out.write);
    request.stderr_fd = std::move(err.write);
    process.channel = std::move(channel.second);
    process.stdin_write = std::move(in.write);
    process.stdout_read = std::move(out.read);
    process.stderr_read = std::move(err.read);
    Result<Attachment> attachment =
        Attachment::Attach(*directory_->ConnectAttach(), std::move(request), Deadline::After(kTimeout));
    EXPECT_OK(attachment);
    if (attachment) process.attachment = std::move(*attachment);
    return process;
  }

  Result<task::CreateTaskResponse> Create(const std::vector<std::string>& args) {
    task::CreateTaskRequest request;
    request.set_id("c1");
    request.set_bundle(Bundle(args));
    return Call<task::CreateTaskResponse>("Create", request);
  }
  Result<task::StartResponse> Start(const std::string& exec_id = "") {
    task::StartRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    return Call<task::StartResponse>("Start", request);
  }
  Result<Empty> Kill(int signal, const std::string& exec_id = "", bool all = false) {
    task::KillRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    request.set_signal(static_cast<uint32_t>(signal));
    request.set_all(all);
    return Call<Empty>("Kill", request);
  }
  Result<Empty> Exec(const std::string& exec_id, const std::string& args) {
    task::ExecProcessRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    request.mutable_spec()->set_type_url(std::string(protocol::kProcessTypeUrl));
    request.mutable_spec()->set_value(
        fmt::format(R"({{"args": [{}], "cwd": "/", "user": {{"uid": 0, "gid": 0}}}})", args));
    return Call<Empty>("Exec", request);
  }
  Result<task::DeleteResponse> Delete(const std::string& exec_id = "") {
    task::DeleteRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    return Call<task::DeleteResponse>("Delete", request);
  }
  Result<task::StateResponse> State(const std::string& exec_id = "") {
    task::StateRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    return Call<task::StateResponse>("State", request);
  }
  Result<task::WaitResponse> Wait(const std::string& exec_id = "") {
    task::WaitRequest request;
    request.set_id("c1");
    request.set_exec_id(exec_id);
    return Call<task::WaitResponse>("Wait", request);
  }

  // A container that runs `args` and is wanted.
  ClientProcess Run(const std::vector<std::string>& args) {
    ClientProcess process = Attach();
    EXPECT_OK(Create(args));
    EXPECT_OK(Start());
    EXPECT_OK(process.attachment->Commit());
    return process;
  }

  void AwaitEvent(const std::string& event) {
    const Deadline deadline = Deadline::After(kTimeout);
    while (!script_->Has(event) && !deadline.Passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_THAT(script_->events(), Contains(event));
  }
  void AwaitServerEnd() {
    client_.reset();
    server_.join();
  }

  std::shared_ptr<FakeGuestScript> script_ = std::make_shared<FakeGuestScript>();
  std::optional<TempDir> dir_;
  std::optional<StateDirectory> directory_;
  int bundles_ = 0;
  std::string hooks_;
  std::thread server_;
  EventLoopThread client_thread_;
  std::unique_ptr<ttrpc::Client> client_;
};

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
  EXPECT_GE(StartTimeLimit(hooks), kHookTimeLimit);  // for the client that starts it
  ASSERT_OK(Start());
  // A hook without a time-out may take an hour, besides what the start itself may.
  EXPECT_GT(script_->start_limit(), kHookTimeLimit + std::chrono::seconds(30));
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

// Over vsock nothing but the machine's end can end the wait for the agent's announcement.
TEST_F(SandboxServerTest, MachineThatDiesBeforeTheAgentAnnouncesItselfGivesTheReason) {
  script_->Set({.agent_unannounced = true});
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

// --- output ---

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
