// SandboxServerTest: the whole sandbox server through its sockets, with a fake guest behind it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <future>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "base/shim_message.h"
#include "proto/monitor.pb.h"
#include "proto/task.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "sandbox/fake_guest.h"
#include "sandbox/sandbox.h"
#include "sandbox/server.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/client.h"

namespace kata::sandbox {

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
    options.config.hypervisor.acceleration = "kvm";  // nothing boots that would have to wait for its turn
    options.config.hypervisor.default_max_vcpus = 8;
    options.config.hypervisor.default_max_memory_mib = 8192;
    // Stand-ins live in the network namespace of the test, which nothing may be done to; see
    // guest_network_test.cc.
    options.config.runtime.internetworking_model = "none";
    options.idle_timeout = idle_timeout;
    options.patience = patience_;
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
                                  {{"type": "mount"}}], "devices": [{}], "resources": {{{}}}}}}})",
                                                                   hooks_, list, devices_, resources_)));
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
  void AwaitTrace(const std::string& trace) {
    const Deadline deadline = Deadline::After(kTimeout);
    while (Trace() != trace && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(Trace(), trace);
  }

  ClientProcess Attach(const std::string& exec_id = "", const std::string& id = "c1") {
    ClientProcess process;
    SocketPairEnds channel = *MakeSocketPair(SOCK_SEQPACKET);
    PipeEnds in = *MakePipe(), out = *MakePipe(), err = *MakePipe();
    process.stand_in = std::move(*Spawn(Command{.program = "sleep", .args = {"1000"}}));
    AttachRequest request;
    request.id = id;
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

  Result<task::CreateTaskResponse> Create(const std::vector<std::string>& args,
                                          const std::string& id = "c1") {
    task::CreateTaskRequest request;
    request.set_id(id);
    request.set_bundle(Bundle(args));
    return Call<task::CreateTaskResponse>("Create", request);
  }
  Result<task::StartResponse> Start(const std::string& exec_id = "", const std::string& id = "c1") {
    task::StartRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return Call<task::StartResponse>("Start", request);
  }
  Result<Empty> Kill(int signal, const std::string& exec_id = "", bool all = false,
                     const std::string& id = "c1") {
    task::KillRequest request;
    request.set_id(id);
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
  Result<task::DeleteResponse> Delete(const std::string& exec_id = "", const std::string& id = "c1") {
    task::DeleteRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return Call<task::DeleteResponse>("Delete", request);
  }
  Result<task::StateResponse> State(const std::string& exec_id = "", const std::string& id = "c1") {
    task::StateRequest request;
    request.set_id(id);
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
  Patience patience_;
  std::optional<TempDir> dir_;
  std::optional<StateDirectory> directory_;
  int bundles_ = 0;
  std::string hooks_;
  std::string devices_, resources_;  // in the bundles to come
  std::thread server_;
  EventLoopThread client_thread_;
  std::unique_ptr<ttrpc::Client> client_;
};

}  // namespace kata::sandbox
