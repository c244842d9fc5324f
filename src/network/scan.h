// What the network namespace of a container holds that its virtual machine shall have.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "linux/ipv6_settings.h"
#include "linux/netlink/route.h"
#include "proto/agent.pb.h"
#include "proto/network_service.pb.h"
#include "proto/types.pb.h"

namespace kata::network {

struct Interface {
  linux::Link link;
  std::vector<linux::LinkAddress> addresses;
  linux::Ipv6Settings ipv6;
};

// As in the message.
struct Ipv6 {
  linux::Ipv6Settings all;
  linux::Ipv6Settings defaults;
  linux::Ipv6Settings loopback;
};

struct Network {
  std::vector<Interface> interfaces;       // in the order of their indices
  std::vector<linux::Route> routes;        // of these interfaces
  std::vector<linux::Neighbor> neighbors;  // of these interfaces
  Ipv6 ipv6;

  const Interface* Find(int link_index) const;  // nullptr: not there
  void Drop(int link_index);                    // an interface with its routes and neighbours
};

// All that the tables of a network namespace hold.
struct Tables {
  std::vector<linux::Link> links;
  std::vector<linux::LinkAddress> addresses;
  std::vector<linux::Route> routes;
  std::vector<linux::Neighbor> neighbors;
  std::map<std::string, linux::Ipv6Settings> ipv6;  // of "all", "default" and each link
};

// Of the namespace in which `socket` was opened, which is the calling thread's.
Result<Tables> ReadTables(linux::RouteSocket& socket);

// What of it the guest gets:
//  * interfaces that are up, but for loopback and `own_links` (indices), which were made to join the others:
//  up,
//    because an engine sets an interface up when it is complete, and because the kernel's fallback tunnels
//    (tunl0, sit0, gre0 ...) stand in every namespace and are down;
//  * routes of the main table but for those that the kernel makes itself, from the addresses and from router
//    advertisements, which go to the guest;
//  * neighbours that somebody has entered for good.
Network SelectForGuest(const Tables& tables, const std::set<int>& own_links);

// --- in the words of the agent's API ---

// `guest_pci_path`: of an interface that has just been plugged in and may not be there yet; empty: it is.
types::Interface ToMessage(const Interface& interface, const std::string& guest_pci_path);
grpc::Routes RoutesToMessage(const Network& network);
grpc::ARPNeighbors NeighborsToMessage(const Network& network);
agent::v1::SetIpv6Request Ipv6ToMessage(const Network& network);

}  // namespace kata::network
