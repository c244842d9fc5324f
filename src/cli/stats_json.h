// A container's statistics as `events` shows them: runc's members.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "proto/agent.pb.h"

namespace kata::cli {

// {"type":"stats","id":ID,"data":{...}}
nlohmann::ordered_json StatsEvent(const std::string& id, const grpc::StatsContainerResponse& stats);
// {"type":"oom","id":ID}
nlohmann::ordered_json OomEvent(const std::string& id);

}  // namespace kata::cli
