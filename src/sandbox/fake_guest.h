// For tests: a Machine without a virtual machine, and an agent in the test's own process that plays the
// processes of containers. What a process does is its args:
//   {"exit", CODE}       ends at once
//   {"echo", TEXT}       writes TEXT to stdout and stderr, ends with 0
//   {"cat"}              writes its stdin to stdout, ends with 0 at the end of stdin
//   {"sleep"}            runs until a signal ends it
//   {"flood"}            writes to stdout without end
//   {"write-and-exit"}   writes more than any pipe holds, ends with 0
//   {"nosuch"}           cannot be executed
#pragma once

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "proto/agent.pb.h"
#include "proto/health.pb.h"
#include "proto/name_service.pb.h"
#include "proto/network_service.pb.h"
#include "proto/notify_service.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "sandbox/machine.h"
#include "ttrpc/server.h"

namespace kata::sandbox::test {

// How the guest behaves; shared by a test, its machine and its agent. Thread safe.
class FakeGuestScript {
 public:
  struct Behaviour {
    bool agent_silent = false;   // never answers Health.Check, which is recorded
    bool agent_late = false;     // answers each but the first; they are recorded, too
    bool agent_absent = false;   // never opens the channel
    bool no_hotplug = false;     // the machine takes no further devices
    bool fixed_size = false;     // nor processors or memory
    bool create_hangs = false;   // never answers CreateContainer
    bool create_waits = false;   // CreateContainer is answered when this is so no more
    bool start_late = false;     // starts a container or process, and says that the time was over
    bool exec_hangs = false;     // ExecProcess is answered when this is so no more
    bool signal_hangs = false;   // never answers SignalProcess, nor does it what it is asked for
    bool undead = false;         // answers SignalProcess, but does not do what it is asked for
    bool network_hangs = false;  // never answers UpdateInterface, which is recorded
    pid_t vmm_pid = 0;           // 0: the test's own process
    std::string start_error;     // the machine does not start
    std::string last_words;      // of the machine
    bool update_fails = false;   // of a container's limits
    bool no_names = false;       // it does not listen for names
    bool no_notify = false;      // nor for containers that are ready
    std::string bad_interface;   // cannot be set up in the guest
  };
  Behaviour behaviour() const {
    const std::lock_guard lock(mutex_);
    return behaviour_;
  }
  void Set(Behaviour behaviour) {
    const std::lock_guard lock(mutex_);
    behaviour_ = std::move(behaviour);
  }
  // One line for each call or step of interest, in order.
  void Record(std::string event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  std::vector<std::string> events() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  bool Has(const std::string& event) const {
    for (const std::string& seen : events()) {
      if (seen == event) return true;
    }
    return false;
  }
  // A process of the container was killed for lack of memory; told to the next that asks.
  void AddOom(std::string container_id) {
    const std::lock_guard lock(mutex_);
    ooms_.push_back(std::move(container_id));
    if (oom_waiter_) std::exchange(oom_waiter_, nullptr)();
  }
  // `wake` runs, at once or later, when TakeOom has one. It must not call this object.
  void AwaitOom(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    oom_waiter_ = std::move(wake);
    if (oom_waiter_ && !ooms_.empty()) std::exchange(oom_waiter_, nullptr)();
  }
  std::string TakeOom() {
    const std::lock_guard lock(mutex_);
    std::string id = std::move(ooms_.front());
    ooms_.erase(ooms_.begin());
    return id;
  }
  // A container says this; told to who asks for it, now or later.
  void SayReady(std::string line) {
    const std::lock_guard lock(mutex_);
    ready_line_ = std::move(line);
    if (ready_waiter_) std::exchange(ready_waiter_, nullptr)(ready_line_);
  }
  // `tell` runs once. It must not call this object.
  void AwaitReady(std::function<void(std::string)> tell) {
    const std::lock_guard lock(mutex_);
    ready_waiter_ = std::move(tell);
    if (ready_waiter_ && !ready_line_.empty()) std::exchange(ready_waiter_, nullptr)(ready_line_);
  }
  grpc::CreateContainerRequest created() const {
    const std::lock_guard lock(mutex_);
    return created_;
  }
  void SetCreated(grpc::CreateContainerRequest request) {
    const std::lock_guard lock(mutex_);
    created_ = std::move(request);
  }

  // How long the host was ready to wait for the last start of a container.
  std::chrono::nanoseconds start_limit() const {
    const std::lock_guard lock(mutex_);
    return start_limit_;
  }
  void SetStartLimit(std::chrono::nanoseconds limit) {
    const std::lock_guard lock(mutex_);
    start_limit_ = limit;
  }

  // Set by the machine: ends it as if the VMM had been killed. Waits for a KillMachine under way.
  void SetKill(std::function<void(std::string)> kill) {
    const std::lock_guard lock(kill_mutex_);
    kill_ = std::move(kill);
  }
  void KillMachine(const std::string& reason) {
    const std::lock_guard lock(kill_mutex_);
    if (kill_) kill_(reason);
  }

 private:
  mutable std::mutex mutex_;
  Behaviour behaviour_;
  std::vector<std::string> events_;
  grpc::CreateContainerRequest created_;
  std::chrono::nanoseconds start_limit_{0};
  std::vector<std::string> ooms_;
  std::function<void()> oom_waiter_;
  std::string ready_line_;
  std::function<void(std::string)> ready_waiter_;
  std::mutex kill_mutex_;
  std::function<void(std::string)> kill_;
};

// One process. Loop thread of the agent.
class FakeProcess {
 public:
  using Data = ttrpc::Responder<grpc::ReadStreamResponse>;
  using Wait = ttrpc::Responder<grpc::WaitProcessResponse>;

  explicit FakeProcess(std::vector<std::string> args) : args_(std::move(args)) {}

  void Run() {
    const std::string& program = args_[0];
    if (program == "exit") Exit(std::atoi(args_[1].c_str()));
    if (program == "echo") {
      stdout_.data = args_[1];
      stderr_.data = args_[1];
      Exit(0);
    }
    if (program == "flood") stdout_.endless = true;
    if (program == "write-and-exit") {
      stdout_.data = std::string(1u << 20, 'x');
      Exit(0);
    }
    Serve();
  }

  void Exit(int code) {
    if (exit_code_) return;
    exit_code_ = code;
    stdout_.endless = false;
    stdout_.ended = true;
    stderr_.ended = true;
    Serve();
    for (Wait& waiter : std::exchange(waiters_, {})) RespondExit(waiter);
  }

  void Signal(int signal) {
    if (signal == SIGKILL || signal == SIGTERM) Exit(128 + signal);
  }

  void AddWaiter(Wait waiter) {
    if (exit_code_) {
      RespondExit(waiter);
    } else {
      waiters_.push_back(std::move(waiter));
    }
  }

  void Read(bool is_stdout, Data responder) {
    (is_stdout ? stdout_ : stderr_).reader.emplace(std::move(responder));
    Serve();
  }

  void WriteStdin(const std::string& data) {
    if (args_[0] == "cat") stdout_.data += data;
    Serve();
  }
  void CloseStdin() {
    if (args_[0] == "cat") Exit(0);
  }

 private:
  struct Stream {
    std::string data;
    bool endless = false;
    bool ended = false;
    std::optional<Data> reader;
  };

  void RespondExit(Wait& waiter) {
    grpc::WaitProcessResponse response;
    response.set_status(*exit_code_);
    waiter.Respond(response);
  }

  void Serve() {
    for (Stream* stream : {&stdout_, &stderr_}) {
      if (!stream->reader || (stream->data.empty() && !stream->endless && !stream->ended)) continue;
      grpc::ReadStreamResponse response;
      if (stream->endless) {
        response.set_data(std::string(protocol::kStreamChunkBytes, 'f'));
      } else {
        const size_t size = std::min<size_t>(stream->data.size(), protocol::kStreamChunkBytes);
        response.set_data(stream->data.substr(0, size));
        stream->data.erase(0, size);
      }
      Data reader = std::move(*std::exchange(stream->reader, std::nullopt));
      reader.Respond(response);
    }
  }

  std::vector<std::string> args_;
  Stream stdout_;
  Stream stderr_;
  std::optional<int> exit_code_;
  std::vector<Wait> waiters_;
};

// The agent's services on one stream, on a thread of its own.
class FakeAgent {
 public:
  FakeAgent(std::shared_ptr<FakeGuestScript> script, UniqueFd stream)
      : script_(std::move(script)), server_(std::make_unique<ttrpc::Server>(thread_.loop())) {
    RegisterSandbox();
    RegisterNetwork();
    RegisterNetworkAsAWhole();
    RegisterContainers();
    RegisterProcesses();
    if (!script_->behaviour().no_notify) RegisterNotify();
    server_->Serve(std::move(stream));
  }
  ~FakeAgent() {
    script_->AwaitOom(nullptr);
    script_->AwaitReady(nullptr);
    // On the loop, where handlers run: none is under way when the processes go.
    std::promise<void> gone;
    thread_.loop().Post([&] {
      server_.reset();
      processes_.clear();
      kept_.clear();
      gone.set_value();
    });
    gone.get_future().wait();
  }

 private:
  // `handler`: Result<Response>(const Request&).
  template <typename Request, typename Response = Empty, typename Handler>
  void On(const char* method, Handler handler) {
    server_->Handle<Request, Response>(
        std::string(protocol::kAgentService), method,
        [handler](const ttrpc::CallContext&, const Request& request, ttrpc::Responder<Response> responder) {
          const Result<Response> response = handler(request);
          responder.Respond(response);
        });
  }

  Result<FakeProcess*> Find(const std::string& container_id, const std::string& exec_id) {
    const auto it = processes_.find({container_id, exec_id.empty() ? container_id : exec_id});
    if (it == processes_.end()) return Error(Code::kNotFound, "no such process");
    return it->second.get();
  }

  Result<Empty> Signal(const grpc::SignalProcessRequest& request) {
    FakeProcess* process = TRY(Find(request.container_id(), request.exec_id()));
    const int signal = static_cast<int>(request.signal());
    process->Signal(signal);
    // Additional processes end with init, the first of their pid namespace.
    const bool init = request.exec_id().empty() || request.exec_id() == request.container_id();
    for (auto& [key, other] : processes_) {
      if (init && key.first == request.container_id()) other->Signal(signal);
    }
    return Empty();
  }

  static std::vector<std::string> Args(const grpc::Process& process) {
    return {process.args().begin(), process.args().end()};
  }

  void RegisterSandbox() {
    server_->Handle<grpc::CheckRequest, grpc::HealthCheckResponse>(
        std::string(protocol::kHealthService), "Check",
        [this](const ttrpc::CallContext&, const grpc::CheckRequest&,
               ttrpc::Responder<grpc::HealthCheckResponse> responder) {
          const FakeGuestScript::Behaviour behaviour = script_->behaviour();
          if (behaviour.agent_silent || behaviour.agent_late) script_->Record("check");
          if (behaviour.agent_silent || (behaviour.agent_late && !std::exchange(was_late_, true))) {
            kept_.push_back(
                std::make_shared<ttrpc::Responder<grpc::HealthCheckResponse>>(std::move(responder)));
            return;
          }
          grpc::HealthCheckResponse response;
          response.set_status(grpc::HealthCheckResponse::SERVING);
          responder.Respond(response);
        });
    On<grpc::GuestDetailsRequest, grpc::GuestDetailsResponse>("GetGuestDetails", [](const auto&) {
      grpc::GuestDetailsResponse response;
      response.mutable_agent_details()->set_supports_seccomp(true);
      return response;
    });
    On<grpc::CreateSandboxRequest>("CreateSandbox", [this](const grpc::CreateSandboxRequest& request) {
      script_->Record("create-sandbox " + request.sandbox_id());
      return Empty();
    });
    On<grpc::DestroySandboxRequest>("DestroySandbox", [this](const auto&) {
      script_->Record("destroy-sandbox");
      return Empty();
    });
  }

  void RegisterNetwork() {
    server_->Handle<grpc::UpdateInterfaceRequest, types::Interface>(
        std::string(protocol::kAgentService), "UpdateInterface",
        [this](const ttrpc::CallContext&, const grpc::UpdateInterfaceRequest& request,
               ttrpc::Responder<types::Interface> responder) {
          const types::Interface& interface = request.interface();
          if (interface.name() == script_->behaviour().bad_interface) {
            script_->Record("no interface " + interface.name());
            return responder.Respond(Error(Code::kNotFound, "Link not found"));
          }
          std::string event = fmt::format("interface {} {} {} '{}'", interface.name(), interface.hwaddr(),
                                          interface.mtu(), interface.devicepath());
          for (const types::IPAddress& address : interface.ipaddresses()) {
            event += fmt::format(" {}/{}", address.address(), address.mask());
          }
          script_->Record(event);
          if (script_->behaviour().network_hangs) {
            kept_.push_back(std::make_shared<ttrpc::Responder<types::Interface>>(std::move(responder)));
          } else {
            responder.Respond(interface);
          }
        });
    On<grpc::UpdateRoutesRequest, grpc::Routes>(
        "UpdateRoutes", [this](const grpc::UpdateRoutesRequest& request) {
          std::string event = "routes";
          for (const types::Route& route : request.routes().routes()) {
            event += fmt::format(" {}>{}@{}", route.dest(), route.gateway(), route.device());
          }
          script_->Record(event);
          return request.routes();
        });
    On<grpc::AddARPNeighborsRequest>("AddARPNeighbors", [this](const grpc::AddARPNeighborsRequest& request) {
      std::string event = "neighbours";
      for (const types::ARPNeighbor& neighbor : request.neighbors().arpneighbors()) {
        event += fmt::format(" {}={}", neighbor.toipaddress().address(), neighbor.lladdr());
      }
      script_->Record(event);
      return Empty();
    });
  }

  void RegisterNetworkAsAWhole() {
    server_->Handle<agent::v1::SetIpv6Request, Empty>(
        std::string(protocol::kNetworkService), "SetIpv6",
        [this](const ttrpc::CallContext&, const agent::v1::SetIpv6Request& request,
               ttrpc::Responder<Empty> responder) {
          std::string event = "ipv6 off:";
          if (request.has_all()) event += fmt::format(" all {}", request.all().disable_ipv6());
          if (request.has_defaults()) event += fmt::format(" default {}", request.defaults().disable_ipv6());
          if (request.has_loopback()) event += fmt::format(" lo {}", request.loopback().disable_ipv6());
          script_->Record(event);
          responder.Respond(Empty());
        });
    server_->Handle<agent::v1::ListenRequest, Empty>(
        std::string(protocol::kNameService), "Listen",
        [this](const ttrpc::CallContext&, const agent::v1::ListenRequest&,
               ttrpc::Responder<Empty> responder) {
          if (script_->behaviour().no_names) {
            script_->Record("no names");
            return responder.Respond(Error(Code::kDeadlineExceeded, "the guest is busy"));
          }
          script_->Record("names");
          responder.Respond(Empty());
        });
  }

  void RegisterNotify() {
    const std::string service(protocol::kNotifyService);
    server_->Handle<agent::v1::NotifyRequest, Empty>(
        service, "Listen",
        [this](const ttrpc::CallContext&, const agent::v1::NotifyRequest& request,
               ttrpc::Responder<Empty> responder) {
          script_->Record("listen " + request.container_id());
          responder.Respond(Empty());
        });
    server_->Handle<agent::v1::NotifyRequest, agent::v1::Readiness>(
        service, "AwaitReady",
        [this](const ttrpc::CallContext&, const agent::v1::NotifyRequest&,
               ttrpc::Responder<agent::v1::Readiness> responder) {
          auto shared = std::make_shared<ttrpc::Responder<agent::v1::Readiness>>(std::move(responder));
          script_->AwaitReady([shared](std::string line) {
            agent::v1::Readiness response;
            response.set_line(std::move(line));
            shared->Respond(response);
          });
        });
  }

  void RegisterContainers() {
    server_->Handle<grpc::CreateContainerRequest, Empty>(
        std::string(protocol::kAgentService), "CreateContainer",
        [this](const ttrpc::CallContext&, const grpc::CreateContainerRequest& request,
               ttrpc::Responder<Empty> responder) {
          script_->SetCreated(request);
          script_->Record("create-container " + request.container_id());
          if (script_->behaviour().create_hangs) {
            kept_.push_back(std::make_shared<ttrpc::Responder<Empty>>(std::move(responder)));
            return;
          }
          while (script_->behaviour().create_waits) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          const std::vector<std::string> args = Args(request.oci().process());
          if (args[0] == "nosuch") {
            responder.Respond(Error(Code::kNotFound, "execute 'nosuch': executable file not found in $PATH"));
            return;
          }
          processes_[{request.container_id(), request.container_id()}] = std::make_unique<FakeProcess>(args);
          responder.Respond(Empty());
        });
    server_->Handle<grpc::StartContainerRequest, Empty>(
        std::string(protocol::kAgentService), "StartContainer",
        [this](const ttrpc::CallContext& call, const grpc::StartContainerRequest& request,
               ttrpc::Responder<Empty> responder) {
          if (call.deadline) script_->SetStartLimit(call.deadline->Remaining());
          const auto start = [&]() -> Result<Empty> {
            TRY(Find(request.container_id(), ""))->Run();
            if (script_->behaviour().start_late) return Error(Code::kDeadlineExceeded, "too late");
            return Empty();
          };
          responder.Respond(start());
        });
    On<grpc::RemoveContainerRequest>("RemoveContainer", [this](const grpc::RemoveContainerRequest& request) {
      script_->Record("remove-container " + request.container_id());
      return Empty();
    });
    On<grpc::StatsContainerRequest, grpc::StatsContainerResponse>("StatsContainer", [](const auto&) {
      grpc::StatsContainerResponse response;
      response.mutable_cgroup_stats()->mutable_pids_stats()->set_current(7);
      return response;
    });
    server_->Handle<grpc::GetOOMEventRequest, grpc::OOMEvent>(
        std::string(protocol::kAgentService), "GetOOMEvent",
        [this](const ttrpc::CallContext&, const grpc::GetOOMEventRequest&,
               ttrpc::Responder<grpc::OOMEvent> responder) {
          auto shared = std::make_shared<ttrpc::Responder<grpc::OOMEvent>>(std::move(responder));
          kept_.push_back(shared);
          script_->AwaitOom([this, weak = std::weak_ptr(shared)] {
            thread_.loop().Post([this, weak] {
              const auto waiting = weak.lock();
              if (!waiting) return;
              grpc::OOMEvent event;
              event.set_container_id(script_->TakeOom());
              waiting->Respond(event);
            });
          });
        });
    On<grpc::PauseContainerRequest>("PauseContainer", [this](const auto&) {
      script_->Record("pause");
      return Empty();
    });
    On<grpc::ResumeContainerRequest>("ResumeContainer", [this](const auto&) {
      script_->Record("resume");
      return Empty();
    });
    On<grpc::UpdateContainerRequest>(
        "UpdateContainer", [this](const grpc::UpdateContainerRequest& request) -> Result<Empty> {
          script_->Record(fmt::format("update {}", request.resources().memory().limit()));
          if (script_->behaviour().update_fails) return Error(Code::kInvalidArgument, "it cannot be");
          return Empty();
        });
  }

  void RegisterProcesses() {
    On<grpc::ExecProcessRequest>(
        "ExecProcess", [this](const grpc::ExecProcessRequest& request) -> Result<Empty> {
          const std::vector<std::string> args = Args(request.process());
          if (args[0] == "nosuch") {
            return Error(Code::kNotFound, "execute 'nosuch': executable file not found in $PATH");
          }
          auto& process = processes_[{request.container_id(), request.exec_id()}];
          process = std::make_unique<FakeProcess>(args);
          process->Run();
          script_->Record(fmt::format("exec {}/{}", request.container_id(), request.exec_id()));
          while (script_->behaviour().exec_hangs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          if (script_->behaviour().start_late) return Error(Code::kDeadlineExceeded, "too late");
          return Empty();
        });
    server_->Handle<grpc::SignalProcessRequest, Empty>(
        std::string(protocol::kAgentService), "SignalProcess",
        [this](const ttrpc::CallContext&, const grpc::SignalProcessRequest& request,
               ttrpc::Responder<Empty> responder) {
          script_->Record(fmt::format("signal {}/{} {}{}", request.container_id(), request.exec_id(),
                                      request.signal(), request.all() ? " all" : ""));
          if (script_->behaviour().signal_hangs) {
            kept_.push_back(std::make_shared<ttrpc::Responder<Empty>>(std::move(responder)));
          } else {
            responder.Respond(script_->behaviour().undead ? Result<Empty>(Empty()) : Signal(request));
          }
        });
    server_->Handle<grpc::WaitProcessRequest, grpc::WaitProcessResponse>(
        std::string(protocol::kAgentService), "WaitProcess",
        [this](const ttrpc::CallContext&, const grpc::WaitProcessRequest& request,
               FakeProcess::Wait responder) {
          const Result<FakeProcess*> process = Find(request.container_id(), request.exec_id());
          if (!process) return responder.Respond(Error(process.error()));
          (*process)->AddWaiter(std::move(responder));
        });
    for (const bool is_stdout : {true, false}) {
      server_->Handle<grpc::ReadStreamRequest, grpc::ReadStreamResponse>(
          std::string(protocol::kAgentService), is_stdout ? "ReadStdout" : "ReadStderr",
          [this, is_stdout](const ttrpc::CallContext&, const grpc::ReadStreamRequest& request,
                            FakeProcess::Data responder) {
            const Result<FakeProcess*> process = Find(request.container_id(), request.exec_id());
            if (!process) return responder.Respond(Error(process.error()));
            (*process)->Read(is_stdout, std::move(responder));
          });
    }
    On<grpc::WriteStreamRequest, grpc::WriteStreamResponse>(
        "WriteStdin", [this](const grpc::WriteStreamRequest& request) -> Result<grpc::WriteStreamResponse> {
          TRY(Find(request.container_id(), request.exec_id()))->WriteStdin(request.data());
          grpc::WriteStreamResponse response;
          response.set_len(static_cast<uint32_t>(request.data().size()));
          return response;
        });
    On<grpc::CloseStdinRequest>("CloseStdin",
                                [this](const grpc::CloseStdinRequest& request) -> Result<Empty> {
                                  TRY(Find(request.container_id(), request.exec_id()))->CloseStdin();
                                  return Empty();
                                });
    On<grpc::OnlineCPUMemRequest>("OnlineCPUMem", [this](const grpc::OnlineCPUMemRequest& request) {
      script_->Record(
          fmt::format("online {} cpus{}", request.nb_cpus(), request.cpu_only() ? "" : " and memory"));
      return Result<Empty>(Empty());
    });
    On<grpc::TtyWinResizeRequest>("TtyWinResize", [this](const grpc::TtyWinResizeRequest& request) {
      script_->Record(fmt::format("resize {}x{}", request.row(), request.column()));
      return Empty();
    });
  }

  const std::shared_ptr<FakeGuestScript> script_;
  EventLoopThread thread_;
  std::unique_ptr<ttrpc::Server> server_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<FakeProcess>> processes_;
  std::vector<std::shared_ptr<void>> kept_;  // responders that never answer
  bool was_late_ = false;
};

class FakeMachine : public Machine {
 public:
  FakeMachine(EventLoop& loop, MachineOptions options, std::shared_ptr<FakeGuestScript> script)
      : loop_(loop), options_(std::move(options)), script_(std::move(script)), size_(options_.size) {
    script_->SetKill([this](const std::string& reason) { Kill(reason); });
  }
  ~FakeMachine() override {
    script_->SetKill(nullptr);
    (void)Stop(Deadline::After(std::chrono::seconds(1)));
  }

  Status Start(Deadline) override {
    const std::string error = script_->behaviour().start_error;
    if (!error.empty()) return Error(Code::kInternal, error);
    {
      const std::lock_guard lock(mutex_);
      running_ = !stopped_;
    }
    script_->Record("start");
    for (const hypervisor::NetworkDevice& card : options_.network_devices) {
      script_->Record(fmt::format("card {} {} {}", card.id, card.mac, card.tap_fds.size()));
    }
    return {};
  }
  Result<UniqueFd> ConnectAgent(Deadline deadline) override {
    SocketPairEnds ends = TRY(MakeSocketPair(SOCK_STREAM));
    std::unique_lock lock(mutex_);
    if (script_->behaviour().agent_absent) {
      stop_called_.wait_until(lock, deadline.time(), [this] { return stopping_; });
      return stopping_ ? Error(Code::kCancelled, "cancelled") : Error(Code::kDeadlineExceeded, "too late");
    }
    if (!running_) return Error(Code::kCancelled, "cancelled");
    agent_ = std::make_unique<FakeAgent>(script_, std::move(ends.second));
    return std::move(ends.first);
  }
  std::vector<grpc::Storage> SandboxStorages() const override { return {}; }
  Result<GuestFiles> ShareContainer(const std::string& container_id, const HostFiles& files) override {
    script_->Record("share " + container_id);
    return GuestFiles{.rootfs = "/guest/" + container_id, .mounts = files.spec.mounts, .storages = {}};
  }
  Status UnshareContainer(const std::string& container_id) override {
    script_->Record("unshare " + container_id);
    return {};
  }
  Result<std::string> AttachDevice(const hypervisor::DeviceSpec& device, Deadline) override {
    if (script_->behaviour().no_hotplug) return Error(Code::kResourceExhausted, "no free pci port");
    if (const auto* card = std::get_if<hypervisor::NetworkDevice>(&device)) {
      script_->Record(fmt::format("attach {} {} {}", card->id, card->mac, card->tap_fds.size()));
    } else {
      script_->Record("attach " + std::get<hypervisor::BlockDevice>(device).id);
    }
    return std::string("0f/00");
  }
  Status DetachDevice(const std::string& device_id, Deadline) override {
    script_->Record("detach " + device_id);
    return {};
  }
  MachineSize size() const override {
    const std::lock_guard lock(mutex_);
    return size_;
  }
  Result<MachineSize> Resize(MachineSize size, Deadline) override {
    const std::lock_guard lock(mutex_);
    if (size == size_) return size_;
    script_->Record(fmt::format("resize to {} vcpus {} MiB", size.vcpus, size.memory_mib));
    if (!script_->behaviour().fixed_size) size_ = size;
    return size_;
  }
  pid_t vmm_pid() const override {
    const pid_t pid = script_->behaviour().vmm_pid;
    return pid != 0 ? pid : getpid();
  }
  bool running() const override {
    const std::lock_guard lock(mutex_);
    return running_;
  }
  std::string LastWords() const override { return script_->behaviour().last_words; }
  Status Stop(Deadline) override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_called_.notify_all();
    if (End()) script_->Record("stop");
    return {};
  }

 private:
  bool End() {
    std::unique_ptr<FakeAgent> agent;
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    agent = std::move(agent_);
    return std::exchange(running_, false);
  }
  void Kill(const std::string& reason) {
    if (End()) loop_.Post([on_exit = options_.on_exit, reason] { on_exit(reason); });
  }

  EventLoop& loop_;
  const MachineOptions options_;
  const std::shared_ptr<FakeGuestScript> script_;
  mutable std::mutex mutex_;
  MachineSize size_;
  bool running_ = false;
  bool stopped_ = false;
  bool stopping_ = false;
  std::condition_variable stop_called_;
  std::unique_ptr<FakeAgent> agent_;
};

}  // namespace kata::sandbox::test
