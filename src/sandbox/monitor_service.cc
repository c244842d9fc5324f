#include "sandbox/monitor_service.h"

#include <string>
#include <utility>

#include "proto/monitor.pb.h"
#include "protocol/constants.h"

namespace kata::sandbox {
namespace {

namespace monitor = kata::sandbox::v1;
using ttrpc::CallContext;
using ttrpc::Responder;

}  // namespace

void RegisterMonitorService(ttrpc::Server& server, const std::shared_ptr<Sandbox>& sandbox) {
  const std::string service(protocol::kMonitorService);
  server.Handle<monitor::StatsRequest, grpc::StatsContainerResponse>(
      service, "Stats",
      [sandbox](const CallContext&, const monitor::StatsRequest& request,
                Responder<grpc::StatsContainerResponse> responder) {
        const Result<std::shared_ptr<Container>> container = sandbox->FindContainer(request.id());
        if (!container) {
          responder.Respond(Error(container.error()));
          return;
        }
        (*container)
            ->Stats([responder =
                         std::move(responder)](const Result<grpc::StatsContainerResponse>& stats) mutable {
              responder.Respond(stats);
            });
      });
  server.Handle<monitor::WaitEventRequest, monitor::WaitEventResponse>(
      service, "WaitEvent",
      [sandbox](const CallContext&, const monitor::WaitEventRequest& request,
                Responder<monitor::WaitEventResponse> responder) {
        const Result<std::shared_ptr<Container>> container = sandbox->FindContainer(request.id());
        if (!container) {
          responder.Respond(Error(container.error()));
          return;
        }
        auto shared = std::make_shared<Responder<monitor::WaitEventResponse>>(std::move(responder));
        (*container)
            ->events()
            .Wait(request.oom_kills(), std::chrono::milliseconds(request.timeout_ms()),
                  [shared](const ContainerEvents::Snapshot& snapshot) {
                    monitor::WaitEventResponse response;
                    response.set_oom_kills(snapshot.oom_kills);
                    response.set_stopped(snapshot.stopped);
                    shared->Respond(response);
                  });
      });
  server.Handle<monitor::WaitReadyRequest, monitor::WaitReadyResponse>(
      service, "WaitReady",
      [sandbox](const CallContext&, const monitor::WaitReadyRequest& request,
                Responder<monitor::WaitReadyResponse> responder) {
        const Result<std::shared_ptr<Container>> container = sandbox->FindContainer(request.id());
        if (!container) {
          responder.Respond(Error(container.error()));
          return;
        }
        auto shared = std::make_shared<Responder<monitor::WaitReadyResponse>>(std::move(responder));
        (*container)
            ->events()
            .WaitReady(std::chrono::milliseconds(request.timeout_ms()),
                       [shared](const ContainerEvents::Snapshot& snapshot) {
                         monitor::WaitReadyResponse response;
                         response.set_line(snapshot.ready_line);
                         response.set_over(snapshot.stopped || !snapshot.awaits_ready);
                         shared->Respond(response);
                       });
      });
}

}  // namespace kata::sandbox
