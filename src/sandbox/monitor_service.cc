#include "sandbox/monitor_service.h"

#include <string>
#include <utility>

#include "proto/monitor.pb.h"
#include "protocol/constants.h"
#include "sandbox/container_method.h"

namespace kata::sandbox {
namespace {

namespace monitor = kata::sandbox::v1;
using ttrpc::Responder;

}  // namespace

void RegisterMonitorService(ttrpc::Server& server, const std::shared_ptr<Sandbox>& sandbox) {
  const std::string service(protocol::kMonitorService);
  HandleContainer<monitor::StatsRequest, grpc::StatsContainerResponse>(
      server, service, "Stats", sandbox,
      [](Container& container, const monitor::StatsRequest&,
         Responder<grpc::StatsContainerResponse> responder) {
        container.Stats(
            [responder = std::move(responder)](const Result<grpc::StatsContainerResponse>& stats) mutable {
              responder.Respond(stats);
            });
      });
  HandleContainer<monitor::WaitEventRequest, monitor::WaitEventResponse>(
      server, service, "WaitEvent", sandbox,
      [](Container& container, const monitor::WaitEventRequest& request,
         Responder<monitor::WaitEventResponse> responder) {
        auto shared = std::make_shared<Responder<monitor::WaitEventResponse>>(std::move(responder));
        container.events().Wait(request.oom_kills(), std::chrono::milliseconds(request.timeout_ms()),
                                [shared](const ContainerEvents::Snapshot& snapshot) {
                                  monitor::WaitEventResponse response;
                                  response.set_oom_kills(snapshot.oom_kills);
                                  response.set_stopped(snapshot.stopped);
                                  shared->Respond(response);
                                });
      });
  HandleContainer<monitor::WaitReadyRequest, monitor::WaitReadyResponse>(
      server, service, "WaitReady", sandbox,
      [](Container& container, const monitor::WaitReadyRequest& request,
         Responder<monitor::WaitReadyResponse> responder) {
        auto shared = std::make_shared<Responder<monitor::WaitReadyResponse>>(std::move(responder));
        container.events().WaitReady(std::chrono::milliseconds(request.timeout_ms()),
                                     [shared](const ContainerEvents::Snapshot& snapshot) {
                                       monitor::WaitReadyResponse response;
                                       response.set_line(snapshot.ready_line);
                                       response.set_over(snapshot.stopped || !snapshot.awaits_ready);
                                       shared->Respond(response);
                                     });
      });
}

}  // namespace kata::sandbox
