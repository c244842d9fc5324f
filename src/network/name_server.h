// The name server that Docker runs for the containers of its networks. It listens in the container's network
// namespace, on any port of a loopback address; rules of a packet filter there lead port 53 to it.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::network {

inline constexpr char kNameServerAddress[] = "127.0.0.11";
inline constexpr uint16_t kNameServerPort = 53;

// Whether something listens on that address in the network namespace of the calling thread.
Result<bool> HasNameServer();

// A socket in the network namespace of the calling thread, non-blocking: SOCK_DGRAM connected to the name
// server, SOCK_STREAM connecting to it.
Result<UniqueFd> ConnectNameServer(int type);

}  // namespace kata::network
