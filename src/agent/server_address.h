// The address that the agent serves on: "vsock://-1:1024", "unix:///path", "serial://agent.channel.0", or
// "vsock://2:PORT": the one connection that the agent itself makes to this port of the host.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::agent {

struct ServerAddress {
  enum class Kind { kVsock, kHostVsock, kUnix, kSerial };
  Kind kind = Kind::kVsock;
  uint32_t port = 0;  // kVsock and kHostVsock; no CID is kept, as a guest listens on all of its own
  std::string name;   // kUnix: absolute path; kSerial: the port's name
};

// kInvalidArgument for any other form.
Result<ServerAddress> ParseServerAddress(std::string_view text);

}  // namespace kata::agent
