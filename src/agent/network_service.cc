// grpc.AgentService: the guest's network.
#include "agent/iptables.h"
#include "agent/network.h"
#include "agent/services.h"
#include "protocol/constants.h"

namespace kata::agent {

void RegisterNetworkService(ttrpc::Server& server, Context context) {
  // In a queue, since each reads tables that another changes.
  const RunJob queue = RunInQueue(context.jobs);
  const std::chrono::seconds hotplug_timeout = context.settings.hotplug_timeout;
  HandleAsJob<grpc::UpdateInterfaceRequest, types::Interface>(
      server, queue, "UpdateInterface",
      [hotplug_timeout](const grpc::UpdateInterfaceRequest& request) -> Result<types::Interface> {
        TRY(UpdateInterface(request.interface(), hotplug_timeout));
        return request.interface();
      });
  HandleAsJob<grpc::ListInterfacesRequest, grpc::Interfaces>(
      server, queue, "ListInterfaces", [](const grpc::ListInterfacesRequest&) { return ListInterfaces(); });
  HandleAsJob<grpc::UpdateRoutesRequest, grpc::Routes>(
      server, queue, "UpdateRoutes", [](const grpc::UpdateRoutesRequest& request) -> Result<grpc::Routes> {
        TRY(UpdateRoutes(request.routes()));
        return ListRoutes();
      });
  HandleAsJob<grpc::ListRoutesRequest, grpc::Routes>(
      server, queue, "ListRoutes", [](const grpc::ListRoutesRequest&) { return ListRoutes(); });
  HandleAsJob<grpc::AddARPNeighborsRequest, Empty>(
      server, queue, "AddARPNeighbors",
      [](const grpc::AddARPNeighborsRequest& request) { return AddArpNeighbors(request.neighbors()); });
  server.Handle<v1::SetIpv6Request, Empty>(
      std::string(protocol::kNetworkService), "SetIpv6",
      [queue](const ttrpc::CallContext&, v1::SetIpv6Request request, ttrpc::Responder<Empty> responder) {
        queue([request = std::move(request), responder = std::move(responder)]() mutable -> Completion {
          Answer(std::move(responder))(SetIpv6(request));
          return {};
        });
      });
  HandleAsJob<grpc::GetIPTablesRequest, grpc::GetIPTablesResponse>(
      server, queue, "GetIPTables",
      [](const grpc::GetIPTablesRequest& request) -> Result<grpc::GetIPTablesResponse> {
        grpc::GetIPTablesResponse response;
        response.set_data(TRY(GetIptables(request.is_ipv6())));
        return response;
      });
  HandleAsJob<grpc::SetIPTablesRequest, grpc::SetIPTablesResponse>(
      server, queue, "SetIPTables",
      [](const grpc::SetIPTablesRequest& request) -> Result<grpc::SetIPTablesResponse> {
        grpc::SetIPTablesResponse response;
        response.set_data(TRY(SetIptables(request.is_ipv6(), request.data())));
        return response;
      });
}

}  // namespace kata::agent
