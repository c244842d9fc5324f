// What net.ipv6.conf of the kernel says about an interface.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace kata::linux {

// Files of /proc/sys/net/ipv6/conf/NAME; as a kernel begins with.
struct Ipv6Settings {
  uint32_t accept_ra = 1;
  uint32_t autoconf = 1;
  uint32_t addr_gen_mode = 0;  // IN6_ADDR_GEN_MODE_*
  uint32_t disable_ipv6 = 0;
  friend bool operator==(const Ipv6Settings&, const Ipv6Settings&) = default;
};

// Both work on the network namespace of the calling thread. `name`: a link, "all" or "default".

// What has no settings (no such link, a kernel without IPv6, an MTU that is too small for it) has IPv6
// disabled.
Result<Ipv6Settings> ReadIpv6Settings(const std::string& name);

// Writes what differs: "all" changes every link, also when it is set to what it is. Where there are no
// settings there is nothing to write.
Status ApplyIpv6Settings(const std::string& name, const Ipv6Settings& wanted);

}  // namespace kata::linux
