// Methods of the server's services that are about one container.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "sandbox/sandbox.h"
#include "ttrpc/server.h"

namespace kata::sandbox {

// `work`: void(Container&, const Request&, Responder<Response>), called with the container that the request's
// id names, on the loop thread. Where there is none, that is the answer.
template <typename Request, typename Response, typename Work>
void HandleContainer(ttrpc::Server& server, const std::string& service, const char* method,
                     const std::shared_ptr<Sandbox>& sandbox, Work work) {
  server.Handle<Request, Response>(service, method,
                                   [sandbox, work](const ttrpc::CallContext&, const Request& request,
                                                   ttrpc::Responder<Response> responder) {
                                     const Result<std::shared_ptr<Container>> container =
                                         sandbox->FindContainer(request.id());
                                     if (!container) return responder.Respond(Error(container.error()));
                                     work(**container, request, std::move(responder));
                                   });
}

}  // namespace kata::sandbox
