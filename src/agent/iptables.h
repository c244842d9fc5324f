// Packet filter rules of the guest, by the iptables programs of a guest image that has them.
#pragma once

#include <string>

#include "base/result.h"

namespace kata::agent {

// All tables in the form of iptables-save(8). kUnimplemented where the guest lacks the program.
Result<std::string> GetIptables(bool ipv6);
// Replaces the tables that `rules` names, as iptables-restore(8) does; returns what the program says.
Result<std::string> SetIptables(bool ipv6, const std::string& rules);

}  // namespace kata::agent
