// A container's resource use: the files of its cgroup (version 2) as the API's statistics.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// Reads the cgroup at `cgroup_directory`. What a controller that is not there would tell stays zero. Blocks
// shortly; any thread.
Result<grpc::StatsContainerResponse> ReadCgroupStats(const std::string& cgroup_directory);

// Appends the lines of io.stat ("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6") to `stats`. Malformed
// lines and unknown keys are skipped.
void ParseIoStat(std::string_view text, grpc::BlkioStats& stats);

// The lines of cpu.pressure and its like, "some avg10=0.12 avg60=0.00 avg300=0.00 total=345"; of malformed
// ones what can be read.
grpc::PressureStats ParsePressure(std::string_view text);

}  // namespace kata::agent
