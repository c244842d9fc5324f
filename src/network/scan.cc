#include "network/scan.h"

#include <linux/neighbour.h>
#include <net/if.h>

#include <algorithm>

namespace kata::network {
namespace {

using linux::IpPrefix;
using linux::Link;
using linux::Neighbor;
using linux::Route;

bool IsForGuest(const Link& link, const std::set<int>& own_links) {
  return (link.flags & IFF_UP) != 0 && (link.flags & IFF_LOOPBACK) == 0 && !own_links.contains(link.index);
}

bool IsForGuest(const Route& route) {
  return route.table == RT_TABLE_MAIN && route.type == RTN_UNICAST && route.protocol != RTPROT_KERNEL;
}

bool IsForGuest(const Neighbor& neighbor) {
  return (neighbor.state & NUD_PERMANENT) != 0 && (neighbor.flags & NTF_PROXY) == 0;
}

types::IPFamily ToFamily(int family) {
  return family == AF_INET6 ? types::v6 : types::v4;
}

}  // namespace

const Interface* Network::Find(int link_index) const {
  const auto it = std::find_if(interfaces.begin(), interfaces.end(), [&](const Interface& interface) {
    return interface.link.index == link_index;
  });
  return it == interfaces.end() ? nullptr : &*it;
}

Result<Tables> ReadTables(linux::RouteSocket& socket) {
  Tables tables;
  tables.links = TRY(socket.ListLinks());
  tables.addresses = TRY(socket.ListAddresses());
  tables.routes = TRY(socket.ListRoutes());
  tables.neighbors = TRY(socket.ListNeighbors());
  return tables;
}

Network SelectForGuest(const Tables& tables, const std::set<int>& own_links) {
  Network network;
  for (const Link& link : tables.links) {
    if (!IsForGuest(link, own_links)) continue;
    Interface& interface = network.interfaces.emplace_back(Interface{.link = link, .addresses = {}});
    for (const linux::LinkAddress& address : tables.addresses) {
      if (address.link_index == link.index && !address.prefix.address.IsLoopback()) {
        interface.addresses.push_back(address.prefix);
      }
    }
  }
  std::sort(network.interfaces.begin(), network.interfaces.end(),
            [](const Interface& a, const Interface& b) { return a.link.index < b.link.index; });
  for (const Route& route : tables.routes) {
    if (IsForGuest(route) && network.Find(route.link_index)) network.routes.push_back(route);
  }
  for (const Neighbor& neighbor : tables.neighbors) {
    if (IsForGuest(neighbor) && network.Find(neighbor.link_index)) network.neighbors.push_back(neighbor);
  }
  return network;
}

types::Interface ToMessage(const Interface& interface, const std::string& guest_pci_path) {
  types::Interface message;
  message.set_device(interface.link.name);
  message.set_name(interface.link.name);
  message.set_mtu(interface.link.mtu);
  message.set_hwaddr(linux::FormatHardwareAddress(interface.link.hardware_address));
  message.set_type(interface.link.kind);
  message.set_raw_flags(interface.link.flags & IFF_NOARP);
  message.set_devicepath(guest_pci_path);
  for (const IpPrefix& prefix : interface.addresses) {
    types::IPAddress& address = *message.add_ipaddresses();
    address.set_family(ToFamily(prefix.address.family()));
    address.set_address(prefix.address.ToString());
    address.set_mask(std::to_string(prefix.length));
  }
  return message;
}

grpc::Routes RoutesToMessage(const Network& network) {
  grpc::Routes message;
  for (const Route& route : network.routes) {
    types::Route& entry = *message.add_routes();
    entry.set_family(ToFamily(route.family));
    if (route.destination) entry.set_dest(route.destination->ToString());
    if (route.gateway) entry.set_gateway(route.gateway->ToString());
    if (route.source) entry.set_source(route.source->ToString());
    entry.set_device(network.Find(route.link_index)->link.name);
    entry.set_scope(route.scope);
    entry.set_flags(route.flags & RTNH_F_ONLINK);
    entry.set_mtu(route.mtu);
  }
  return message;
}

grpc::ARPNeighbors NeighborsToMessage(const Network& network) {
  grpc::ARPNeighbors message;
  for (const Neighbor& neighbor : network.neighbors) {
    types::ARPNeighbor& entry = *message.add_arpneighbors();
    entry.mutable_toipaddress()->set_family(ToFamily(neighbor.address.family()));
    entry.mutable_toipaddress()->set_address(neighbor.address.ToString());
    entry.set_device(network.Find(neighbor.link_index)->link.name);
    entry.set_lladdr(linux::FormatHardwareAddress(neighbor.hardware_address));
    entry.set_state(neighbor.state);
    entry.set_flags(neighbor.flags);
  }
  return message;
}

}  // namespace kata::network
