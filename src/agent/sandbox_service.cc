// grpc.AgentService: the sandbox and the guest as a whole.
#include <unistd.h>

#include <utility>

#include "agent/copy_file.h"
#include "agent/guest_system.h"
#include "agent/services.h"
#include "agent/storage/registry.h"
#include "base/version.h"
#include "jail/jail.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;

Result<grpc::GuestDetailsResponse> GuestDetails(const grpc::GuestDetailsRequest& request,
                                                const Settings& settings) {
  grpc::GuestDetailsResponse response;
  if (request.mem_block_size()) response.set_mem_block_size_bytes(TRY(MemoryBlockSize()));
  if (request.mem_hotplug_probe()) response.set_support_mem_hotplug_probe(MemoryProbeSupported());
  grpc::AgentDetails& agent = *response.mutable_agent_details();
  agent.set_version(std::string(Version()));
  agent.set_init_daemon(settings.is_init);
  for (const std::string_view driver : StorageDriverNames()) agent.add_storage_handlers(std::string(driver));
  agent.set_supports_seccomp(jail::SeccompSupported());
  return response;
}

// The clock and the generator of a machine that is not a guest are not the agent's to change.
Status CheckOwnsGuest(const Settings& settings) {
  if (settings.is_init) return {};
  return Error(Code::kFailedPrecondition, "the agent is not the init process of a guest");
}

void RegisterGuest(ttrpc::Server& server, Context context) {
  const std::string service(protocol::kAgentService);
  server.Handle<grpc::GuestDetailsRequest, grpc::GuestDetailsResponse>(
      service, "GetGuestDetails",
      [context](const CallContext&, const grpc::GuestDetailsRequest& request,
                Responder<grpc::GuestDetailsResponse> responder) {
        responder.Respond(GuestDetails(request, context.settings));
      });
  server.Handle<grpc::SetGuestDateTimeRequest, Empty>(
      service, "SetGuestDateTime",
      [context](const CallContext&, const grpc::SetGuestDateTimeRequest& request,
                Responder<Empty> responder) {
        Status status = CheckOwnsGuest(context.settings);
        if (status) status = SetClock(request.sec(), request.usec());
        Answer(std::move(responder))(std::move(status));
      });
  server.Handle<grpc::ReseedRandomDevRequest, Empty>(
      service, "ReseedRandomDev",
      [context](const CallContext&, const grpc::ReseedRandomDevRequest& request, Responder<Empty> responder) {
        Status status = CheckOwnsGuest(context.settings);
        if (status) status = ReseedRandom(request.data());
        Answer(std::move(responder))(std::move(status));
      });
}

}  // namespace

void RegisterSandboxService(ttrpc::Server& server, Sandbox& sandbox, Context context) {
  const std::string service(protocol::kAgentService);
  server.Handle<grpc::CreateSandboxRequest, Empty>(
      service, "CreateSandbox",
      [&sandbox](const CallContext&, const grpc::CreateSandboxRequest& request, Responder<Empty> responder) {
        sandbox.Create(request, Answer(std::move(responder)));
      });
  server.Handle<grpc::DestroySandboxRequest, Empty>(
      service, "DestroySandbox",
      [&sandbox](const CallContext&, const grpc::DestroySandboxRequest&, Responder<Empty> responder) {
        sandbox.Destroy(Answer(std::move(responder)));
      });
  // Parts of one file arrive in order only if they are written in order.
  server.Handle<grpc::CopyFileRequest, Empty>(
      service, "CopyFile",
      [queue = std::make_shared<JobQueue>(context.jobs)](const CallContext&, grpc::CopyFileRequest request,
                                                         Responder<Empty> responder) {
        queue->Add([request = std::move(request), responder = std::move(responder)]() mutable -> Completion {
          Status status = CopyFile(std::string(protocol::kGuestSharedDirectory), request);
          return [status = std::move(status), responder = std::move(responder)]() mutable {
            Answer(std::move(responder))(std::move(status));
          };
        });
      });
  RegisterGuest(server, context);
}

}  // namespace kata::agent
