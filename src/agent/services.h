// The ttrpc services: each function registers the methods of one topic. The handlers run on the loop thread.
#pragma once

#include "agent/context.h"
#include "agent/sandbox.h"
#include "base/result.h"
#include "proto/wellknown.pb.h"
#include "ttrpc/server.h"

namespace kata::agent {

// All borrowed; they must outlive `server`'s calls.
void RegisterHealthService(ttrpc::Server& server);
// Sandbox and guest as a whole.
void RegisterSandboxService(ttrpc::Server& server, Sandbox& sandbox, Context context);
// Life of containers and processes.
void RegisterContainerService(ttrpc::Server& server, Sandbox& sandbox, Context context);
// Standard streams and terminals.
void RegisterStdioService(ttrpc::Server& server, Sandbox& sandbox);
// The methods of the API that this agent lacks: they answer kUnimplemented with their name.
void RegisterNotBuilt(ttrpc::Server& server);

// A callback that answers a call whose response is empty.
inline StatusCallback Answer(ttrpc::Responder<Empty> responder) {
  return [responder = std::move(responder)](Status status) mutable {
    if (status) {
      responder.Respond(Empty());
    } else {
      responder.Respond(std::move(status).error());
    }
  };
}

}  // namespace kata::agent
