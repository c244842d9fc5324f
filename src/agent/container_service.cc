// grpc.AgentService: containers and their processes.
#include <chrono>
#include <csignal>
#include <utility>

#include "agent/diagnostics.h"
#include "agent/services.h"
#include "protocol/constants.h"
#include "protocol/ids.h"
#include "protocol/oci_convert.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;

void WaitProcess(Sandbox& sandbox, const grpc::WaitProcessRequest& request,
                 Responder<grpc::WaitProcessResponse> responder) {
  const Result<std::shared_ptr<Container>> container = sandbox.FindContainer(request.container_id());
  if (!container) return responder.Respond(container.error());
  const Result<std::shared_ptr<Process>> process = (*container)->FindProcess(request.exec_id());
  if (!process) return responder.Respond(process.error());
  const bool is_init = *process == (*container)->init();
  (*process)->Wait([container = *container, exec_id = request.exec_id(), is_init,
                    responder = std::move(responder)](int exit_code) mutable {
    grpc::WaitProcessResponse response;
    response.set_status(exit_code);
    response.set_oom_killed(is_init && container->oom_killed());
    responder.Respond(response);
    container->ForgetIfFinished(exec_id);
  });
}

void SignalProcess(Container& container, const grpc::SignalProcessRequest& request, StatusCallback callback) {
  if (request.signal() > static_cast<uint32_t>(SIGRTMAX)) {
    return callback(MakeError(Code::kInvalidArgument, "signal {} does not exist", request.signal()));
  }
  const int signal = static_cast<int>(request.signal());
  if (request.all() && request.exec_id().empty()) return container.SignalAll(signal, std::move(callback));
  container.Signal(request.exec_id(), signal, std::move(callback));
}

void UpdateContainer(Container& container, const grpc::UpdateContainerRequest& request,
                     StatusCallback callback) {
  Result<oci::Resources> resources = protocol::FromProto(request.resources());
  if (!resources) return callback(std::move(resources).error());
  container.Update(std::move(*resources), std::move(callback));
}

// The file in the guest that a request asks for; empty: there is none.
Result<std::string> FindDiagnosticData(Sandbox& sandbox, const grpc::GetDiagnosticDataRequest& request) {
  if (request.log_type() != protocol::kTerminationLog) {
    return MakeError(Code::kInvalidArgument, "unknown log type '{}'", request.log_type());
  }
  return TRY(sandbox.FindContainer(request.container_id()))->termination_log();
}

Result<grpc::GetDiagnosticDataResponse> DiagnosticData(const std::string& path) {
  grpc::GetDiagnosticDataResponse response;
  if (!path.empty()) response.set_data(TRY_CTX(ReadTerminationLog(path), "termination log"));
  return response;
}

// A method on one container that answers with nothing: `method`: void(Container&, const Request&,
// StatusCallback).
template <typename Request, typename Method>
void HandleContainer(ttrpc::Server& server, Sandbox& sandbox, const char* name, Method method) {
  server.Handle<Request, Empty>(
      std::string(protocol::kAgentService), name,
      [&sandbox, method](const CallContext&, const Request& request, Responder<Empty> responder) {
        Result<std::shared_ptr<Container>> container = sandbox.FindContainer(request.container_id());
        if (!container) return responder.Respond(container.error());
        method(**container, request, Answer(std::move(responder)));
      });
}

void RegisterLifecycle(ttrpc::Server& server, Sandbox& sandbox) {
  const std::string service(protocol::kAgentService);
  server.Handle<grpc::CreateContainerRequest, Empty>(
      service, "CreateContainer",
      [&sandbox](const CallContext&, grpc::CreateContainerRequest request, Responder<Empty> responder) {
        sandbox.CreateContainer(std::move(request), Answer(std::move(responder)));
      });
  server.Handle<grpc::RemoveContainerRequest, Empty>(
      service, "RemoveContainer",
      [&sandbox](const CallContext&, const grpc::RemoveContainerRequest& request,
                 Responder<Empty> responder) {
        sandbox.RemoveContainer(request.container_id(), std::chrono::seconds(request.timeout()),
                                Answer(std::move(responder)));
      });
  HandleContainer<grpc::StartContainerRequest>(
      server, sandbox, "StartContainer",
      [](Container& container, const grpc::StartContainerRequest&, StatusCallback callback) {
        container.Start(std::move(callback));
      });
  HandleContainer<grpc::PauseContainerRequest>(
      server, sandbox, "PauseContainer",
      [](Container& container, const grpc::PauseContainerRequest&, StatusCallback callback) {
        container.Pause(std::move(callback));
      });
  HandleContainer<grpc::ResumeContainerRequest>(
      server, sandbox, "ResumeContainer",
      [](Container& container, const grpc::ResumeContainerRequest&, StatusCallback callback) {
        container.Resume(std::move(callback));
      });
  HandleContainer<grpc::UpdateContainerRequest>(server, sandbox, "UpdateContainer", UpdateContainer);
}

void RegisterProcesses(ttrpc::Server& server, Sandbox& sandbox) {
  const std::string service(protocol::kAgentService);
  HandleContainer<grpc::ExecProcessRequest>(
      server, sandbox, "ExecProcess",
      [](Container& container, const grpc::ExecProcessRequest& request, StatusCallback callback) {
        if (Status status = protocol::CheckExecId(request.exec_id()); !status) {
          return callback(std::move(status));
        }
        container.Exec(request, std::move(callback));
      });
  HandleContainer<grpc::SignalProcessRequest>(server, sandbox, "SignalProcess", SignalProcess);
  server.Handle<grpc::WaitProcessRequest, grpc::WaitProcessResponse>(
      service, "WaitProcess",
      [&sandbox](const CallContext&, const grpc::WaitProcessRequest& request,
                 Responder<grpc::WaitProcessResponse> responder) {
        WaitProcess(sandbox, request, std::move(responder));
      });
}

void RegisterObservation(ttrpc::Server& server, Sandbox& sandbox, Context context) {
  const std::string service(protocol::kAgentService);
  server.Handle<grpc::StatsContainerRequest, grpc::StatsContainerResponse>(
      service, "StatsContainer",
      [&sandbox](const CallContext&, const grpc::StatsContainerRequest& request,
                 Responder<grpc::StatsContainerResponse> responder) {
        const Result<std::shared_ptr<Container>> container = sandbox.FindContainer(request.container_id());
        if (!container) return responder.Respond(container.error());
        (*container)
            ->Stats([responder =
                         std::move(responder)](const Result<grpc::StatsContainerResponse>& stats) mutable {
              responder.Respond(stats);
            });
      });
  server.Handle<grpc::GetDiagnosticDataRequest, grpc::GetDiagnosticDataResponse>(
      service, "GetDiagnosticData",
      [&sandbox, context](const CallContext&, const grpc::GetDiagnosticDataRequest& request,
                          Responder<grpc::GetDiagnosticDataResponse> responder) {
        Result<std::string> path = FindDiagnosticData(sandbox, request);
        if (!path) return responder.Respond(path.error());
        context.jobs.Run([path = std::move(*path), responder = std::move(responder)]() mutable -> Completion {
          responder.Respond(DiagnosticData(path));
          return {};
        });
      });
  server.Handle<grpc::GetOOMEventRequest, grpc::OOMEvent>(
      service, "GetOOMEvent",
      [context](const CallContext& call, const grpc::GetOOMEventRequest&,
                Responder<grpc::OOMEvent> responder) {
        context.oom_watcher.Next(call.connection_id,
                                 [responder = std::move(responder)](const std::string& container_id) mutable {
                                   grpc::OOMEvent event;
                                   event.set_container_id(container_id);
                                   responder.Respond(event);
                                 });
      });
}

}  // namespace

void RegisterContainerService(ttrpc::Server& server, Sandbox& sandbox, Context context) {
  RegisterLifecycle(server, sandbox);
  RegisterProcesses(server, sandbox);
  RegisterObservation(server, sandbox, context);
}

}  // namespace kata::agent
