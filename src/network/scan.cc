#include "network/scan.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>

#include <algorithm>

namespace kata::network {
namespace {

using linux::Ipv6Settings;
using linux::Link;
using linux::Neighbor;
using linux::Route;

bool IsForGuest(const Link& link, const std::set<int>& own_links) {
  return (link.flags & IFF_UP) != 0 && (link.flags & IFF_LOOPBACK) == 0 && !own_links.contains(link.index);
}

bool IsForGuest(const Route& route) {
  return route.table == RT_TABLE_MAIN && route.type == RTN_UNICAST && route.protocol != RTPROT_KERNEL &&
         route.protocol != RTPROT_RA;
}

bool IsForGuest(const Neighbor& neighbor) {
  return (neighbor.state & NUD_PERMANENT) != 0 && (neighbor.flags & NTF_PROXY) == 0;
}

types::IPFamily ToFamily(int family) {
  return family == AF_INET6 ? types::v6 : types::v4;
}

types::Ipv6Settings ToMessage(const Ipv6Settings& settings) {
  types::Ipv6Settings message;
  message.set_disable_ipv6(settings.disable_ipv6);
  message.set_accept_ra(settings.accept_ra);
  message.set_autoconf(settings.autoconf);
  // An address that is made in another way than from the hardware address comes with the addresses.
  message.set_addr_gen_mode(settings.addr_gen_mode == IN6_ADDR_GEN_MODE_EUI64 ? IN6_ADDR_GEN_MODE_EUI64
                                                                              : IN6_ADDR_GEN_MODE_NONE);
  return message;
}

}  // namespace

const Interface* Network::Find(int link_index) const {
  const auto it = std::find_if(interfaces.begin(), interfaces.end(), [&](const Interface& interface) {
    return interface.link.index == link_index;
  });
  return it == interfaces.end() ? nullptr : &*it;
}

void Network::Drop(int link_index) {
  std::erase_if(interfaces, [&](const Interface& entry) { return entry.link.index == link_index; });
  std::erase_if(routes, [&](const Route& entry) { return entry.link_index == link_index; });
  std::erase_if(neighbors, [&](const Neighbor& entry) { return entry.link_index == link_index; });
}

Result<Tables> ReadTables(linux::RouteSocket& socket) {
  Tables tables;
  tables.links = TRY(socket.ListLinks());
  tables.addresses = TRY(socket.ListAddresses());
  tables.routes = TRY(socket.ListRoutes());
  tables.neighbors = TRY(socket.ListNeighbors());
  for (const char* name : {"all", "default"}) tables.ipv6[name] = TRY(linux::ReadIpv6Settings(name));
  for (const Link& link : tables.links) tables.ipv6[link.name] = TRY(linux::ReadIpv6Settings(link.name));
  return tables;
}

Network SelectForGuest(const Tables& tables, const std::set<int>& own_links) {
  const auto ipv6 = [&](const std::string& name) {
    const auto it = tables.ipv6.find(name);
    return it == tables.ipv6.end() ? Ipv6Settings() : it->second;
  };
  Network network;
  network.ipv6 = {.all = ipv6("all"), .defaults = ipv6("default"), .loopback = ipv6("lo")};
  for (const Link& link : tables.links) {
    if (!IsForGuest(link, own_links)) continue;
    Interface& interface =
        network.interfaces.emplace_back(Interface{.link = link, .addresses = {}, .ipv6 = ipv6(link.name)});
    for (const linux::LinkAddress& address : tables.addresses) {
      if (address.link_index == link.index && !address.prefix.address.IsLoopback()) {
        interface.addresses.push_back(address);
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
  *message.mutable_ipv6() = ToMessage(interface.ipv6);
  for (const linux::LinkAddress& address : interface.addresses) {
    types::IPAddress& entry = *message.add_ipaddresses();
    entry.set_family(ToFamily(address.prefix.address.family()));
    entry.set_address(address.prefix.address.ToString());
    entry.set_mask(std::to_string(address.prefix.length));
    if (address.broadcast) entry.set_broadcast(address.broadcast->ToString());
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
    entry.set_metric(route.metric);
    entry.set_protocol(route.protocol);
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

agent::v1::SetIpv6Request Ipv6ToMessage(const Network& network) {
  agent::v1::SetIpv6Request message;
  *message.mutable_all() = ToMessage(network.ipv6.all);
  *message.mutable_defaults() = ToMessage(network.ipv6.defaults);
  *message.mutable_loopback() = ToMessage(network.ipv6.loopback);
  return message;
}

}  // namespace kata::network
