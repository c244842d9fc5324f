// kata.agent.v1.NameService: names that only the host can resolve.
#include <arpa/inet.h>

#include <memory>
#include <utility>

#include "agent/name_relay.h"
#include "agent/services.h"
#include "proto/name_service.pb.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;

Result<sockaddr_in> ParseListenRequest(const v1::ListenRequest& request) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (inet_pton(AF_INET, request.address().c_str(), &address.sin_addr) != 1 ||
      (ntohl(address.sin_addr.s_addr) >> 24) != 127 || request.port() == 0 || request.port() > UINT16_MAX) {
    return MakeError(Code::kInvalidArgument, "'{}' port {} is no address of the loopback interface",
                     request.address(), request.port());
  }
  address.sin_port = htons(static_cast<uint16_t>(request.port()));
  return address;
}

}  // namespace

void RegisterNameService(ttrpc::Server& server, NameRelay& relay) {
  const std::string service(protocol::kNameService);
  server.Handle<v1::ListenRequest, Empty>(
      service, "Listen",
      [&relay](const CallContext&, const v1::ListenRequest& request, Responder<Empty> responder) {
        const auto listen = [&]() -> Status { return relay.Listen(TRY(ParseListenRequest(request))); };
        Answer(std::move(responder))(listen());
      });
  server.Handle<v1::NextQueryRequest, v1::Query>(
      service, "NextQuery",
      [&relay](const CallContext& context, const v1::NextQueryRequest&, Responder<v1::Query> responder) {
        auto shared = std::make_shared<Responder<v1::Query>>(std::move(responder));
        relay.Next(context.connection_id, [shared](const NameRelay::Query& query) {
          v1::Query response;
          response.set_id(query.id);
          response.set_stream(query.stream);
          response.set_message(query.message);
          shared->Respond(response);
        });
      });
  server.Handle<v1::AnswerRequest, Empty>(
      service, "Answer",
      [&relay](const CallContext&, const v1::AnswerRequest& request, Responder<Empty> responder) {
        relay.Answer(request.id(), request.message());
        responder.Respond(Empty());
      });
}

}  // namespace kata::agent
