// The guest's network: what the API's network methods do, on the links of the agent's network namespace.
#pragma once

#include <chrono>

#include "base/result.h"
#include "proto/agent.pb.h"
#include "proto/network_service.pb.h"
#include "proto/types.pb.h"

namespace kata::agent {

// All block for a while; for workers, one at a time.

// Finds the link by its hardware address, waiting up to `hotplug_timeout` for one that `devicePath`
// announces, and gives it the name, addresses, MTU, flags and IPv6 settings of `interface`, in place of those
// it has; then it is up. IPv6 addresses are left out where it has IPv6 disabled. A link that has the name
// already takes over the other's. kNotFound: "Link not found ...", which hosts look for.
Status UpdateInterface(const types::Interface& interface, std::chrono::seconds hotplug_timeout);
Result<grpc::Interfaces> ListInterfaces();

// Of all links, of those to come and of loopback.
Status SetIpv6(const v1::SetIpv6Request& request);

// Makes `routes` the routes of the main table, apart from those the kernel made itself; those without gateway
// come first, as gateways must be reachable. One that the kernel refuses does not keep the others out.
Status UpdateRoutes(const grpc::Routes& routes);
// The main table. The destination of a default route is "0.0.0.0" or "::1", which is the API's word for it.
Result<grpc::Routes> ListRoutes();

Status AddArpNeighbors(const grpc::ARPNeighbors& neighbors);

}  // namespace kata::agent
