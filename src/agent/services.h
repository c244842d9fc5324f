// The ttrpc services: each function registers the methods of one topic. The handlers run on the loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "agent/context.h"
#include "agent/name_relay.h"
#include "agent/sandbox.h"
#include "base/result.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
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
// Interfaces, routes, neighbours, packet filter.
void RegisterNetworkService(ttrpc::Server& server, Context context);
// Names that the host resolves.
void RegisterNameService(ttrpc::Server& server, NameRelay& relay);
// Containers that tell when they are ready.
void RegisterNotifyService(ttrpc::Server& server, Sandbox& sandbox, Context context);
// The guest as a machine: CPUs, memory, clock, metrics.
void RegisterGuestService(ttrpc::Server& server, Context context);

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

// How a method's job is run: at once, or in a queue.
using RunJob = std::function<void(Job)>;
inline RunJob RunAtOnce(JobRunner& jobs) {
  return [&jobs](Job job) { jobs.Run(std::move(job)); };
}
inline RunJob RunInQueue(JobRunner& jobs) {
  return [queue = std::make_shared<JobQueue>(jobs)](Job job) { queue->Add(std::move(job)); };
}

// A method whose work is one function that blocks. `work`: Result<Response>(const Request&), or Status for an
// empty response.
template <typename Request, typename Response, typename Work>
void HandleAsJob(ttrpc::Server& server, RunJob run, const char* name, Work work) {
  server.Handle<Request, Response>(
      std::string(protocol::kAgentService), name,
      [run = std::move(run), work](const ttrpc::CallContext&, Request request,
                                   ttrpc::Responder<Response> responder) {
        run([work, request = std::move(request), responder = std::move(responder)]() mutable -> Completion {
          if constexpr (std::is_same_v<decltype(work(request)), Status>) {
            Answer(std::move(responder))(work(request));
          } else {
            responder.Respond(work(request));
          }
          return {};
        });
      });
}

}  // namespace kata::agent
