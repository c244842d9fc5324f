// The methods of grpc.AgentService that this agent does not have.
#include <string>

#include "agent/services.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

constexpr const char* kMethods[] = {
    "AddARPNeighbors",  "AddSwap",
    "AddSwapPath",      "GetDiagnosticData",
    "GetIPTables",      "GetMetrics",
    "GetVolumeStats",   "ListInterfaces",
    "ListRoutes",       "MemAgentCompactSet",
    "MemAgentMemcgSet", "MemHotplugByProbe",
    "OnlineCPUMem",     "RemoveStaleVirtiofsShareMounts",
    "ResizeVolume",     "SetIPTables",
    "SetPolicy",        "UpdateEphemeralMounts",
    "UpdateInterface",  "UpdateRoutes",
};

}  // namespace

void RegisterNotBuilt(ttrpc::Server& server) {
  for (const char* method : kMethods) {
    server.HandleRaw(std::string(protocol::kAgentService), method,
                     [method](const ttrpc::CallContext&, const std::string&, ttrpc::RawResponder responder) {
                       responder.Respond(MakeError(Code::kUnimplemented,
                                                   "method '{}' is not built into this agent", method));
                     });
  }
}

}  // namespace kata::agent
