// kata.agent.v1.NotifyService: containers that tell when they are ready.
#include <memory>
#include <utility>

#include "agent/services.h"
#include "proto/notify_service.pb.h"
#include "protocol/constants.h"

namespace kata::agent {

using ttrpc::CallContext;
using ttrpc::Responder;

void RegisterNotifyService(ttrpc::Server& server, Sandbox& sandbox, Context context) {
  const std::string service(protocol::kNotifyService);
  server.Handle<v1::NotifyRequest, Empty>(
      service, "Listen",
      [&sandbox](const CallContext&, const v1::NotifyRequest& request, Responder<Empty> responder) {
        Answer(std::move(responder))(sandbox.ListenForReady(request.container_id()));
      });
  server.Handle<v1::NotifyRequest, v1::Readiness>(
      service, "AwaitReady",
      [context](const CallContext& call, const v1::NotifyRequest& request,
                Responder<v1::Readiness> responder) {
        const auto shared = std::make_shared<Responder<v1::Readiness>>(std::move(responder));
        const Status waits = context.ready_sockets.Await(request.container_id(), call.connection_id,
                                                         [shared](const std::string& line) {
                                                           v1::Readiness response;
                                                           response.set_line(line);
                                                           shared->Respond(response);
                                                         });
        if (!waits) shared->Respond(waits.error());
      });
}

}  // namespace kata::agent
