// PortRedirect: connections and datagrams for one address and port reach another port of the same address.
//
// A program that listens on a well-known port of a loopback address would take the port away from whoever
// binds it on all addresses, as name servers in containers do. So it listens on any port, and what programs
// send to the known one is led there when they connect or send (BPF_PROG_TYPE_CGROUP_SOCK_ADDR): no packet
// filter rule, which belongs to the containers, and no trace in a network namespace that a container makes
// itself.
#pragma once

#include <netinet/in.h>

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::agent {

// In force as long as the object lives.
class PortRedirect {
 public:
  PortRedirect() = default;
  // For the processes of the cgroup2 directory `cgroup_root` and those below, as far as they are in the
  // network namespace of `socket`. `address` has the known port, `port` is the other, in host's order.
  static Result<PortRedirect> Create(const std::string& cgroup_root, int socket, const sockaddr_in& address,
                                     uint16_t port);

 private:
  std::vector<UniqueFd> links_;
};

}  // namespace kata::agent
