// AgentClient: requests of grpc.AgentService and grpc.Health.
#include "sandbox/agent_client.h"

#include <utility>

#include "proto/health.pb.h"
#include "proto/name_service.pb.h"
#include "proto/notify_service.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "protocol/ready_line.h"
#include "sandbox/time_limits.h"

namespace kata::sandbox {
namespace {

const std::string kAgentService(protocol::kAgentService);
const std::string kHealthService(protocol::kHealthService);
const std::string kNameService(protocol::kNameService);
const std::string kNetworkService(protocol::kNetworkService);
const std::string kNotifyService(protocol::kNotifyService);
constexpr ttrpc::Client::Timeout kNoTimeout = std::nullopt;

Status ExpectServing(const Result<grpc::HealthCheckResponse>& response) {
  if (!response) return response.error();
  if (response->status() == grpc::HealthCheckResponse::SERVING) return {};
  return MakeError(Code::kUnavailable, "the agent says that it does not serve (status {})",
                   static_cast<int>(response->status()));
}

}  // namespace

template <typename Request>
void AgentClient::CallForStatus(const char* method, const Request& request, ttrpc::Client::Timeout timeout,
                                StatusCallback callback) {
  client_.Call<Empty>(kAgentService, method, request, timeout,
                      [callback = std::move(callback)](Result<Empty> response) mutable {
                        callback(response ? Status() : Status(std::move(response).error()));
                      });
}

Status AgentClient::Check(Deadline deadline) {
  return ExpectServing(client_.CallSync<grpc::HealthCheckResponse>(
      kHealthService, "Check", grpc::CheckRequest(), deadline.Remaining()));
}

void AgentClient::Check(std::chrono::nanoseconds timeout, StatusCallback callback) {
  client_.Call<grpc::HealthCheckResponse>(
      kHealthService, "Check", grpc::CheckRequest(), timeout,
      [callback = std::move(callback)](const Result<grpc::HealthCheckResponse>& response) mutable {
        callback(ExpectServing(response));
      });
}

Result<grpc::GuestDetailsResponse> AgentClient::GetGuestDetails(Deadline deadline) {
  grpc::GuestDetailsRequest request;
  request.set_mem_block_size(true);
  request.set_mem_hotplug_probe(true);
  return client_.CallSync<grpc::GuestDetailsResponse>(kAgentService, "GetGuestDetails", request,
                                                      deadline.Remaining());
}

Status AgentClient::CreateSandbox(const grpc::CreateSandboxRequest& request, Deadline deadline) {
  TRY(client_.CallSync<Empty>(kAgentService, "CreateSandbox", request, deadline.Remaining()));
  return {};
}

Status AgentClient::CreateContainer(const grpc::CreateContainerRequest& request,
                                    std::chrono::nanoseconds timeout) {
  TRY(client_.CallSync<Empty>(kAgentService, "CreateContainer", request, timeout));
  return {};
}

Status AgentClient::OnlineCpusAndMemory(uint32_t cpus, bool memory) {
  grpc::OnlineCPUMemRequest request;
  request.set_wait(true);
  request.set_nb_cpus(cpus);
  request.set_cpu_only(!memory);
  TRY(client_.CallSync<Empty>(kAgentService, "OnlineCPUMem", request, kAgentCallTime));
  return {};
}

Status AgentClient::UpdateInterface(const types::Interface& interface, Deadline deadline) {
  grpc::UpdateInterfaceRequest request;
  *request.mutable_interface() = interface;
  TRY(client_.CallSync<types::Interface>(kAgentService, "UpdateInterface", request, deadline.Remaining()));
  return {};
}

Status AgentClient::UpdateRoutes(const grpc::Routes& routes, Deadline deadline) {
  grpc::UpdateRoutesRequest request;
  *request.mutable_routes() = routes;
  TRY(client_.CallSync<grpc::Routes>(kAgentService, "UpdateRoutes", request, deadline.Remaining()));
  return {};
}

Status AgentClient::AddArpNeighbors(const grpc::ARPNeighbors& neighbors, Deadline deadline) {
  grpc::AddARPNeighborsRequest request;
  *request.mutable_neighbors() = neighbors;
  TRY(client_.CallSync<Empty>(kAgentService, "AddARPNeighbors", request, deadline.Remaining()));
  return {};
}

Status AgentClient::SetIpv6(const agent::v1::SetIpv6Request& request, Deadline deadline) {
  TRY(client_.CallSync<Empty>(kNetworkService, "SetIpv6", request, deadline.Remaining()));
  return {};
}

Status AgentClient::ListenForNames(const std::string& address, uint16_t port) {
  agent::v1::ListenRequest request;
  request.set_address(address);
  request.set_port(port);
  TRY(client_.CallSync<Empty>(kNameService, "Listen", request, kAgentCallTime));
  return {};
}

Status AgentClient::ListenForReady(const std::string& container_id) {
  agent::v1::NotifyRequest request;
  request.set_container_id(container_id);
  TRY(client_.CallSync<Empty>(kNotifyService, "Listen", request, kListenTime));
  return {};
}

void AgentClient::StartContainer(const std::string& container_id, std::chrono::seconds hooks_time,
                                 StatusCallback callback) {
  grpc::StartContainerRequest request;
  request.set_container_id(container_id);
  CallForStatus("StartContainer", request, kAgentCallTime + hooks_time, std::move(callback));
}

void AgentClient::RemoveContainer(const std::string& container_id, std::chrono::seconds timeout,
                                  StatusCallback callback) {
  grpc::RemoveContainerRequest request;
  request.set_container_id(container_id);
  request.set_timeout(static_cast<uint32_t>(timeout.count()));
  CallForStatus("RemoveContainer", request, kAgentCallTime, std::move(callback));
}

void AgentClient::ExecProcess(const grpc::ExecProcessRequest& request, StatusCallback callback) {
  CallForStatus("ExecProcess", request, kAgentCallTime, std::move(callback));
}

void AgentClient::SignalProcess(const std::string& container_id, const std::string& exec_id, int signal,
                                StatusCallback callback) {
  grpc::SignalProcessRequest request;
  request.set_container_id(container_id);
  request.set_exec_id(exec_id);
  request.set_signal(static_cast<uint32_t>(signal));
  CallForStatus("SignalProcess", request, kAgentCallTime, std::move(callback));
}

void AgentClient::SignalAll(const std::string& container_id, int signal, StatusCallback callback) {
  grpc::SignalProcessRequest request;
  request.set_container_id(container_id);
  request.set_signal(static_cast<uint32_t>(signal));
  request.set_all(true);
  CallForStatus("SignalProcess", request, kAgentCallTime, std::move(callback));
}

void AgentClient::WaitProcess(const std::string& container_id, const std::string& exec_id,
                              ResultCallback<Exit> callback) {
  grpc::WaitProcessRequest request;
  request.set_container_id(container_id);
  request.set_exec_id(exec_id);
  client_.Call<grpc::WaitProcessResponse>(
      kAgentService, "WaitProcess", request, kNoTimeout,
      [callback = std::move(callback)](Result<grpc::WaitProcessResponse> response) mutable {
        if (!response) return callback(std::move(response).error());
        // Whatever the guest says, an exit code has eight bits.
        callback(Exit{.code = response->status() & 0xff, .oom_killed = response->oom_killed()});
      });
}

void AgentClient::UpdateContainer(const grpc::UpdateContainerRequest& request, StatusCallback callback) {
  CallForStatus("UpdateContainer", request, kAgentCallTime, std::move(callback));
}

void AgentClient::PauseContainer(const std::string& container_id, StatusCallback callback) {
  grpc::PauseContainerRequest request;
  request.set_container_id(container_id);
  CallForStatus("PauseContainer", request, kAgentCallTime, std::move(callback));
}

void AgentClient::ResumeContainer(const std::string& container_id, StatusCallback callback) {
  grpc::ResumeContainerRequest request;
  request.set_container_id(container_id);
  CallForStatus("ResumeContainer", request, kAgentCallTime, std::move(callback));
}

void AgentClient::ResizeTerminal(const std::string& container_id, const std::string& exec_id, uint32_t rows,
                                 uint32_t columns, StatusCallback callback) {
  grpc::TtyWinResizeRequest request;
  request.set_container_id(container_id);
  request.set_exec_id(exec_id);
  request.set_row(rows);
  request.set_column(columns);
  CallForStatus("TtyWinResize", request, kAgentCallTime, std::move(callback));
}

void AgentClient::StatsContainer(const std::string& container_id,
                                 ResultCallback<grpc::StatsContainerResponse> callback) {
  grpc::StatsContainerRequest request;
  request.set_container_id(container_id);
  client_.Call<grpc::StatsContainerResponse>(kAgentService, "StatsContainer", request, kAgentCallTime,
                                             std::move(callback));
}

void AgentClient::DestroySandbox(std::chrono::seconds timeout, StatusCallback callback) {
  CallForStatus("DestroySandbox", grpc::DestroySandboxRequest(), timeout, std::move(callback));
}

void AgentClient::GetOomEvent(ResultCallback<std::string> callback) {
  client_.Call<grpc::OOMEvent>(kAgentService, "GetOOMEvent", grpc::GetOOMEventRequest(), kNoTimeout,
                               [callback = std::move(callback)](Result<grpc::OOMEvent> response) mutable {
                                 callback(response ? Result<std::string>(response->container_id())
                                                   : Result<std::string>(std::move(response).error()));
                               });
}

void AgentClient::NextNameQuery(ResultCallback<NameQuery> callback) {
  client_.Call<agent::v1::Query>(kNameService, "NextQuery", agent::v1::NextQueryRequest(), kNoTimeout,
                                 [callback = std::move(callback)](Result<agent::v1::Query> response) mutable {
                                   if (response) {
                                     callback(NameQuery{.id = response->id(),
                                                        .stream = response->stream(),
                                                        .message = std::move(*response->mutable_message())});
                                   } else {
                                     callback(std::move(response).error());
                                   }
                                 });
}

void AgentClient::AnswerNameQuery(uint64_t id, std::string message, StatusCallback callback) {
  agent::v1::AnswerRequest request;
  request.set_id(id);
  request.set_message(std::move(message));
  client_.Call<Empty>(kNameService, "Answer", request, kAgentCallTime,
                      [callback = std::move(callback)](Result<Empty> response) mutable {
                        callback(response ? Status() : Status(std::move(response).error()));
                      });
}

void AgentClient::AwaitReady(const std::string& container_id, ResultCallback<std::string> callback) {
  agent::v1::NotifyRequest request;
  request.set_container_id(container_id);
  client_.Call<agent::v1::Readiness>(
      kNotifyService, "AwaitReady", request, kNoTimeout,
      [callback = std::move(callback)](Result<agent::v1::Readiness> answer) mutable {
        if (!answer) return callback(std::move(answer).error());
        // It goes on to the host's service manager.
        if (!protocol::IsReadyLine(answer->line())) {
          return callback(Error(Code::kInternal, "the agent's word is no ready line"));
        }
        callback(answer->line());
      });
}

// A process may take its input, or write its next output, at any time: none of these calls has a limit.
class AgentStreams : public GuestStreams {
 public:
  AgentStreams(std::shared_ptr<AgentClient> agent, std::string container_id, std::string exec_id)
      : agent_(std::move(agent)), container_id_(std::move(container_id)), exec_id_(std::move(exec_id)) {}

  void ReadStdout(uint32_t max_bytes, DataCallback callback) override {
    Read("ReadStdout", max_bytes, std::move(callback));
  }

  void ReadStderr(uint32_t max_bytes, DataCallback callback) override {
    Read("ReadStderr", max_bytes, std::move(callback));
  }

  void WriteStdin(std::string data, SizeCallback callback) override {
    grpc::WriteStreamRequest request;
    SetProcess(request);
    request.set_data(std::move(data));
    agent_->client_.Call<grpc::WriteStreamResponse>(
        kAgentService, "WriteStdin", request, kNoTimeout,
        [callback = std::move(callback)](Result<grpc::WriteStreamResponse> response) mutable {
          callback(response ? Result<size_t>(response->len()) : Result<size_t>(std::move(response).error()));
        });
  }

  void CloseStdin(StatusCallback callback) override {
    grpc::CloseStdinRequest request;
    SetProcess(request);
    agent_->CallForStatus("CloseStdin", request, kAgentCallTime, std::move(callback));
  }

 private:
  template <typename Request>
  void SetProcess(Request& request) const {
    request.set_container_id(container_id_);
    request.set_exec_id(exec_id_);
  }

  void Read(const char* method, uint32_t max_bytes, DataCallback callback) {
    grpc::ReadStreamRequest request;
    SetProcess(request);
    request.set_len(max_bytes);
    agent_->client_.Call<grpc::ReadStreamResponse>(
        kAgentService, method, request, kNoTimeout,
        [callback = std::move(callback)](Result<grpc::ReadStreamResponse> response) mutable {
          callback(response ? Result<std::string>(std::move(*response->mutable_data()))
                            : Result<std::string>(std::move(response).error()));
        });
  }

  std::shared_ptr<AgentClient> agent_;
  std::string container_id_;
  std::string exec_id_;
};

std::shared_ptr<GuestStreams> AgentClient::Streams(const std::string& container_id,
                                                   const std::string& exec_id) {
  return std::make_shared<AgentStreams>(shared_from_this(), container_id, exec_id);
}

}  // namespace kata::sandbox
