// grpc.Health: is the agent there, and which one is it.
#include "agent/services.h"
#include "base/version.h"
#include "proto/health.pb.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

// The version of the API that the reference agent has reported ever since; hosts only log it.
constexpr char kApiVersion[] = "0.0.1";

}  // namespace

void RegisterHealthService(ttrpc::Server& server) {
  const std::string service(protocol::kHealthService);
  server.Handle<grpc::CheckRequest, grpc::HealthCheckResponse>(
      service, "Check",
      [](const ttrpc::CallContext&, const grpc::CheckRequest&,
         ttrpc::Responder<grpc::HealthCheckResponse> responder) {
        grpc::HealthCheckResponse response;
        response.set_status(grpc::HealthCheckResponse::SERVING);
        responder.Respond(response);
      });
  server.Handle<grpc::CheckRequest, grpc::VersionCheckResponse>(
      service, "Version",
      [](const ttrpc::CallContext&, const grpc::CheckRequest&,
         ttrpc::Responder<grpc::VersionCheckResponse> responder) {
        grpc::VersionCheckResponse response;
        response.set_grpc_version(kApiVersion);
        response.set_agent_version(std::string(Version()));
        responder.Respond(response);
      });
}

}  // namespace kata::agent
