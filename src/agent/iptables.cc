#include "agent/iptables.h"

#include <chrono>

#include "agent/guest_program.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kTimeout{30};
// How long iptables-restore waits for another program that holds the lock of the tables.
constexpr char kLockWaitSeconds[] = "5";

}  // namespace

Result<std::string> GetIptables(bool ipv6) {
  const std::string program =
      TRY_CTX(FindGuestProgram(ipv6 ? "ip6tables-save" : "iptables-save"), "read the packet filter");
  return RunGuestProgram({program, {}, {}, {}}, Deadline::After(kTimeout));
}

Result<std::string> SetIptables(bool ipv6, const std::string& rules) {
  const std::string program =
      TRY_CTX(FindGuestProgram(ipv6 ? "ip6tables-restore" : "iptables-restore"), "set the packet filter");
  return RunGuestProgram({program, {"--wait", kLockWaitSeconds}, {}, rules}, Deadline::After(kTimeout));
}

}  // namespace kata::agent
