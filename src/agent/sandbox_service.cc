// grpc.AgentService: the sandbox and what its containers share.
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "agent/copy_file.h"
#include "agent/services.h"
#include "agent/storage/registry.h"
#include "base/log.h"
#include "linux/mountinfo.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;

// The host has removed what a mount below the shared directory shows; looking at it makes the kernel find
// out, and drop what it keeps of it, which the host's file server would otherwise hold open.
Status VisitSharedMounts() {
  for (const linux::MountInfo& mount : TRY(linux::ReadMountInfo())) {
    if (!mount.mount_point.starts_with(protocol::kGuestSharedDirectory)) continue;
    struct stat info{};
    if (stat(mount.mount_point.c_str(), &info) != 0) {
      log::Debug("shared mount is stale", {{"mount", mount.mount_point}, {"errno", errno}});
    }
  }
  return {};
}

Status UpdateEphemeralMounts(StorageTable& storages, const grpc::UpdateEphemeralMountsRequest& request) {
  for (const grpc::Storage& storage : request.storages()) TRY(storages.Update(storage));
  return {};
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
  HandleAsJob<grpc::CopyFileRequest, Empty>(
      server, RunInQueue(context.jobs), "CopyFile", [](const grpc::CopyFileRequest& request) {
        return CopyFile(std::string(protocol::kGuestSharedDirectory), request);
      });
  HandleAsJob<grpc::UpdateEphemeralMountsRequest, Empty>(
      server, RunAtOnce(context.jobs), "UpdateEphemeralMounts",
      [&storages = context.storages](const grpc::UpdateEphemeralMountsRequest& request) {
        return UpdateEphemeralMounts(storages, request);
      });
  HandleAsJob<grpc::RemoveStaleVirtiofsShareMountsRequest, Empty>(
      server, RunAtOnce(context.jobs), "RemoveStaleVirtiofsShareMounts",
      [](const grpc::RemoveStaleVirtiofsShareMountsRequest&) { return VisitSharedMounts(); });
}

}  // namespace kata::agent
