// grpc.AgentService: standard streams and terminals of processes.
#include <utility>

#include "agent/services.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;
using ReadMethod = void (Process::*)(size_t, uint64_t, OutputStream::ReadCallback);

void ReadStream(Sandbox& sandbox, ReadMethod read, const CallContext& call,
                const grpc::ReadStreamRequest& request, Responder<grpc::ReadStreamResponse> responder) {
  const Result<std::shared_ptr<Container>> container = sandbox.FindContainer(request.container_id());
  if (!container) return responder.Respond(container.error());
  const Result<std::shared_ptr<Process>> process = (*container)->FindProcess(request.exec_id());
  if (!process) return responder.Respond(process.error());
  ((**process).*read)(request.len(), call.connection_id,
                      [container = *container, exec_id = request.exec_id(),
                       responder = std::move(responder)](Result<std::string> data) mutable {
                        if (!data) return responder.Respond(std::move(data).error());
                        const bool at_end = data->empty();
                        grpc::ReadStreamResponse response;
                        response.set_data(std::move(*data));
                        responder.Respond(response);
                        if (at_end) container->ForgetIfFinished(exec_id);
                      });
}

void WriteStdin(Sandbox& sandbox, grpc::WriteStreamRequest request,
                Responder<grpc::WriteStreamResponse> responder) {
  const Result<std::shared_ptr<Process>> process =
      sandbox.FindProcess(request.container_id(), request.exec_id());
  if (!process) return responder.Respond(process.error());
  (*process)->WriteStdin(std::move(*request.mutable_data()),
                         [responder = std::move(responder)](Result<size_t> written) mutable {
                           if (!written) return responder.Respond(std::move(written).error());
                           grpc::WriteStreamResponse response;
                           response.set_len(static_cast<uint32_t>(*written));
                           responder.Respond(response);
                         });
}

Status CloseStdin(Sandbox& sandbox, const grpc::CloseStdinRequest& request) {
  const std::shared_ptr<Process> process =
      TRY(sandbox.FindProcess(request.container_id(), request.exec_id()));
  process->CloseStdin();
  return {};
}

Status Resize(Sandbox& sandbox, const grpc::TtyWinResizeRequest& request) {
  const std::shared_ptr<Process> process =
      TRY(sandbox.FindProcess(request.container_id(), request.exec_id()));
  return process->Resize(request.row(), request.column());
}

}  // namespace

void RegisterStdioService(ttrpc::Server& server, Sandbox& sandbox) {
  const std::string service(protocol::kAgentService);
  for (const auto& [name, read] : {std::pair<const char*, ReadMethod>{"ReadStdout", &Process::ReadStdout},
                                   std::pair<const char*, ReadMethod>{"ReadStderr", &Process::ReadStderr}}) {
    server.Handle<grpc::ReadStreamRequest, grpc::ReadStreamResponse>(
        service, name,
        [&sandbox, read = read](const CallContext& call, const grpc::ReadStreamRequest& request,
                                Responder<grpc::ReadStreamResponse> responder) {
          ReadStream(sandbox, read, call, request, std::move(responder));
        });
  }
  server.Handle<grpc::WriteStreamRequest, grpc::WriteStreamResponse>(
      service, "WriteStdin",
      [&sandbox](const CallContext&, grpc::WriteStreamRequest request,
                 Responder<grpc::WriteStreamResponse> responder) {
        WriteStdin(sandbox, std::move(request), std::move(responder));
      });
  server.Handle<grpc::CloseStdinRequest, Empty>(
      service, "CloseStdin",
      [&sandbox](const CallContext&, const grpc::CloseStdinRequest& request, Responder<Empty> responder) {
        Answer(std::move(responder))(CloseStdin(sandbox, request));
      });
  server.Handle<grpc::TtyWinResizeRequest, Empty>(
      service, "TtyWinResize",
      [&sandbox](const CallContext&, const grpc::TtyWinResizeRequest& request, Responder<Empty> responder) {
        Answer(std::move(responder))(Resize(sandbox, request));
      });
}

}  // namespace kata::agent
