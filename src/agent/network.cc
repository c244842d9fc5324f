#include "agent/network.h"

#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/device/finder.h"
#include "linux/ipv6_settings.h"
#include "linux/netlink/route.h"

namespace kata::agent {
namespace {

using linux::IpAddress;
using linux::IpPrefix;
using linux::Ipv6Settings;
using linux::Link;
using linux::LinkAddress;
using linux::Route;
using linux::RouteSocket;

constexpr char kDefaultV4[] = "0.0.0.0";
constexpr char kDefaultV6[] = "::1";
constexpr int kMaxEntries = 4096;  // of one request: no pod has so many addresses, routes or neighbours

Status CheckCount(const char* what, int count) {
  if (count <= kMaxEntries) return {};
  return MakeError(Code::kInvalidArgument, "{} {}, the limit is {}", count, what, kMaxEntries);
}

// A guest without it takes what is of IPv4.
Result<bool> HasIpv6(const std::string& link) {
  return TRY(linux::ReadIpv6Settings(link)).disable_ipv6 == 0;
}

Ipv6Settings ParseIpv6(const types::Ipv6Settings& settings) {
  return {.accept_ra = settings.accept_ra(),
          .autoconf = settings.autoconf(),
          .addr_gen_mode = settings.addr_gen_mode(),
          .disable_ipv6 = settings.disable_ipv6()};
}

const Link* FindByAddress(const std::vector<Link>& links, const std::string& hardware_address) {
  const auto it = std::find_if(links.begin(), links.end(),
                               [&](const Link& link) { return link.hardware_address == hardware_address; });
  return it == links.end() ? nullptr : &*it;
}

const Link* FindByName(const std::vector<Link>& links, const std::string& name) {
  const auto it =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == name; });
  return it == links.end() ? nullptr : &*it;
}

// Of no link yet.
Result<LinkAddress> ParseAddress(const types::IPAddress& address) {
  LinkAddress result;
  const std::string text =
      address.mask().empty() ? address.address() : address.address() + "/" + address.mask();
  result.prefix = TRY(IpPrefix::Parse(text));
  if (!address.broadcast().empty()) {
    result.broadcast = TRY(IpAddress::Parse(address.broadcast()));
    if (result.prefix.address.family() != AF_INET || result.broadcast->family() != AF_INET) {
      return MakeError(Code::kInvalidArgument, "'{}' is no broadcast address of '{}'", address.broadcast(),
                       text);
    }
  }
  return result;
}

types::IPFamily ToProto(int family) {
  return family == AF_INET ? types::v4 : types::v6;
}

// What a request says about a link, checked.
struct LinkSettings {
  std::string name;
  std::string hardware_address;
  uint32_t mtu = 0;  // 0: as it is
  bool no_arp = false;
  std::optional<Ipv6Settings> ipv6;  // as it is
  std::vector<LinkAddress> addresses;
};

Result<LinkSettings> ParseInterface(const types::Interface& interface) {
  LinkSettings settings;
  settings.name = interface.name();
  TRY(linux::CheckLinkName(settings.name));
  settings.hardware_address = TRY(linux::ParseHardwareAddress(interface.hwaddr()));
  if (interface.mtu() > std::numeric_limits<uint32_t>::max()) {
    return MakeError(Code::kInvalidArgument, "MTU {} is out of range", interface.mtu());
  }
  settings.mtu = static_cast<uint32_t>(interface.mtu());
  settings.no_arp = (interface.raw_flags() & IFF_NOARP) != 0;
  if (interface.has_ipv6()) settings.ipv6 = ParseIpv6(interface.ipv6());
  TRY(CheckCount("addresses", interface.ipaddresses_size()));
  for (const types::IPAddress& address : interface.ipaddresses()) {
    settings.addresses.push_back(TRY(ParseAddress(address)));
  }
  return settings;
}

// The link with this hardware address; waits for one that is being plugged in.
Result<Link> AwaitLink(RouteSocket& socket, const std::string& hardware_address, bool hotplugged,
                       std::chrono::seconds timeout) {
  std::optional<Link> found;
  const auto look = [&]() -> Result<bool> {
    const std::vector<Link> links = TRY(socket.ListLinks());
    if (const Link* link = FindByAddress(links, hardware_address)) found = *link;
    return found.has_value();
  };
  const Deadline deadline = Deadline::After(hotplugged ? timeout : std::chrono::seconds(0));
  const bool there = TRY(AwaitDevice(look, deadline));
  if (!there) {
    return MakeError(Code::kNotFound, "Link not found (hardware address '{}')",
                     linux::FormatHardwareAddress(hardware_address));
  }
  return std::move(*found);
}

// Gives `link`, which is down, the name. Who has it gets the link's old one in exchange.
Status Rename(RouteSocket& socket, const Link& link, const std::string& name) {
  if (link.name == name) return {};
  const std::vector<Link> links = TRY(socket.ListLinks());
  const Link* const holder = FindByName(links, name);
  if (holder == nullptr) return socket.RenameLink(link.index, name);
  constexpr size_t kMaxName = IFNAMSIZ - 1;
  constexpr std::string_view kSuffix = "_temp";
  const std::string temporary = name.substr(0, kMaxName - kSuffix.size()) + std::string(kSuffix);
  TRY(socket.SetLinkFlags(holder->index, 0, IFF_UP));
  TRY(socket.RenameLink(holder->index, temporary));
  TRY(socket.RenameLink(link.index, name));
  TRY(socket.RenameLink(holder->index, link.name));
  if ((holder->flags & IFF_UP) != 0) TRY(socket.SetLinkFlags(holder->index, IFF_UP, 0));
  return {};
}

Status ReplaceAddresses(RouteSocket& socket, int index, bool ipv6, const std::vector<LinkAddress>& wanted) {
  for (const LinkAddress& address : TRY(socket.ListAddresses())) {
    if (address.link_index == index) TRY(socket.DeleteAddress(address));
  }
  for (LinkAddress address : wanted) {
    if (address.prefix.address.family() == AF_INET6 && !ipv6) continue;
    address.link_index = index;
    TRY(socket.AddAddress(address));
  }
  return {};
}

Status Apply(RouteSocket& socket, const Link& link, const LinkSettings& settings) {
  TRY_CTX(socket.SetLinkFlags(link.index, 0, IFF_UP), "set the link down");
  TRY(Rename(socket, link, settings.name));
  // It decides whether there can be IPv6.
  if (settings.mtu != 0 && settings.mtu != link.mtu) TRY(socket.SetLinkMtu(link.index, settings.mtu));
  // Before the link is up, when the kernel begins to make addresses and to listen to routers.
  if (settings.ipv6) TRY(linux::ApplyIpv6Settings(settings.name, *settings.ipv6));
  TRY(ReplaceAddresses(socket, link.index, TRY(HasIpv6(settings.name)), settings.addresses));
  const unsigned no_arp = IFF_NOARP;
  TRY_CTX(socket.SetLinkFlags(link.index, settings.no_arp ? no_arp : 0, settings.no_arp ? 0 : no_arp),
          "set the ARP flag");
  TRY_CTX(socket.SetLinkFlags(link.index, IFF_UP, 0), "set the link up");
  return {};
}

Result<Route> ParseRoute(const types::Route& route, const std::vector<Link>& links) {
  Route result;
  result.family = route.family() == types::v6 ? AF_INET6 : AF_INET;
  const std::string& destination = route.dest();
  if (!destination.empty() && destination != kDefaultV4 && destination != kDefaultV6) {
    const IpPrefix prefix = TRY(IpPrefix::Parse(destination));
    if (prefix.length > 0) result.destination = prefix;
    result.family = static_cast<uint8_t>(prefix.address.family());
  } else if (destination == kDefaultV6) {
    result.family = AF_INET6;
  }
  if (!route.gateway().empty()) result.gateway = TRY(IpAddress::Parse(route.gateway()));
  if (!route.source().empty()) result.source = TRY(IpAddress::Parse(route.source()));
  // A default route says its family by its gateway; hosts leave `family` unset for it.
  if (!result.destination && result.gateway) result.family = static_cast<uint8_t>(result.gateway->family());
  for (const std::optional<IpAddress>* address : {&result.gateway, &result.source}) {
    if (*address && (*address)->family() != result.family) {
      return MakeError(Code::kInvalidArgument, "'{}' is of another family than the route",
                       (*address)->ToString());
    }
  }
  const Link* const link = FindByName(links, route.device());
  if (link == nullptr) return MakeError(Code::kNotFound, "no link '{}'", route.device());
  result.link_index = link->index;
  if (route.scope() > RT_SCOPE_NOWHERE) {
    return MakeError(Code::kInvalidArgument, "scope {} is out of range", route.scope());
  }
  result.scope = static_cast<uint8_t>(route.scope());
  result.flags = route.flags() & RTNH_F_ONLINK;
  result.mtu = route.mtu();
  result.metric = route.metric();
  if (route.protocol() > UINT8_MAX) {
    return MakeError(Code::kInvalidArgument, "protocol {} is out of range", route.protocol());
  }
  if (route.protocol() != 0) result.protocol = static_cast<uint8_t>(route.protocol());
  return result;
}

// Of what may be replaced: the main table without the routes that come and go with addresses and routers.
bool IsReplaceable(const Route& route) {
  return route.table == RT_TABLE_MAIN && route.protocol != RTPROT_KERNEL && route.protocol != RTPROT_RA;
}

std::string DescribeRoute(const types::Route& route) {
  return fmt::format("route to '{}' by '{}' on '{}'", route.dest().empty() ? "default" : route.dest(),
                     route.gateway(), route.device());
}

}  // namespace

Status UpdateInterface(const types::Interface& interface, std::chrono::seconds hotplug_timeout) {
  const LinkSettings settings = TRY_CTX(ParseInterface(interface), "update interface '{}'", interface.name());
  RouteSocket socket = TRY(RouteSocket::Open());
  const Link link =
      TRY_CTX(AwaitLink(socket, settings.hardware_address, !interface.devicepath().empty(), hotplug_timeout),
              "update interface '{}'", interface.name());
  TRY_CTX(Apply(socket, link, settings), "update interface '{}'", interface.name());
  return {};
}

Status SetIpv6(const v1::SetIpv6Request& request) {
  // "all" first: it changes the others.
  if (request.has_all()) TRY(linux::ApplyIpv6Settings("all", ParseIpv6(request.all())));
  if (request.has_defaults()) TRY(linux::ApplyIpv6Settings("default", ParseIpv6(request.defaults())));
  if (request.has_loopback()) TRY(linux::ApplyIpv6Settings("lo", ParseIpv6(request.loopback())));
  return {};
}

Result<grpc::Interfaces> ListInterfaces() {
  RouteSocket socket = TRY(RouteSocket::Open());
  const std::vector<LinkAddress> addresses = TRY(socket.ListAddresses());
  grpc::Interfaces result;
  for (const Link& link : TRY(socket.ListLinks())) {
    types::Interface& interface = *result.add_interfaces();
    interface.set_device(link.name);
    interface.set_name(link.name);
    interface.set_mtu(link.mtu);
    interface.set_hwaddr(linux::FormatHardwareAddress(link.hardware_address));
    interface.set_type(link.kind);
    interface.set_raw_flags(link.flags & IFF_NOARP);
    for (const LinkAddress& address : addresses) {
      if (address.link_index != link.index) continue;
      types::IPAddress& entry = *interface.add_ipaddresses();
      entry.set_family(ToProto(address.prefix.address.family()));
      entry.set_address(address.prefix.address.ToString());
      entry.set_mask(fmt::format("{}", address.prefix.length));
      if (address.broadcast) entry.set_broadcast(address.broadcast->ToString());
    }
  }
  return result;
}

Status UpdateRoutes(const grpc::Routes& routes) {
  TRY(CheckCount("routes", routes.routes_size()));
  RouteSocket socket = TRY(RouteSocket::Open());
  const std::vector<Link> links = TRY(socket.ListLinks());
  std::vector<std::pair<Route, std::string>> wanted;
  for (const types::Route& route : routes.routes()) {
    const Route parsed = TRY_CTX(ParseRoute(route, links), "{}", DescribeRoute(route));
    if (parsed.family == AF_INET || TRY(HasIpv6(route.device()))) {
      wanted.emplace_back(parsed, DescribeRoute(route));
    }
  }
  std::stable_partition(wanted.begin(), wanted.end(), [](const auto& entry) { return !entry.first.gateway; });
  for (const Route& route : TRY(socket.ListRoutes())) {
    if (IsReplaceable(route)) TRY_CTX(socket.DeleteRoute(route), "delete an old route");
  }
  // The others shall not miss what one cannot have.
  Status result;
  for (const auto& [route, description] : wanted) {
    Status status = socket.AddRoute(route);
    // A route that came with its address is as good.
    if (status || status.error().code() == Code::kAlreadyExists || !result) continue;
    result = std::move(status).error().Wrap(fmt::format("add {}", description));
  }
  return result;
}

Result<grpc::Routes> ListRoutes() {
  RouteSocket socket = TRY(RouteSocket::Open());
  std::map<int, std::string> names;
  for (const Link& link : TRY(socket.ListLinks())) names[link.index] = link.name;
  grpc::Routes result;
  for (const Route& route : TRY(socket.ListRoutes())) {
    if (route.table != RT_TABLE_MAIN) continue;
    types::Route& entry = *result.add_routes();
    const char* const everything = route.family == AF_INET ? kDefaultV4 : kDefaultV6;
    entry.set_dest(route.destination ? route.destination->ToString() : everything);
    if (route.gateway) entry.set_gateway(route.gateway->ToString());
    if (route.source) entry.set_source(route.source->ToString());
    entry.set_device(names[route.link_index]);
    entry.set_scope(route.scope);
    entry.set_family(ToProto(route.family));
    entry.set_flags(route.flags);
    entry.set_mtu(route.mtu);
    entry.set_metric(route.metric);
    entry.set_protocol(route.protocol);
  }
  return result;
}

Status AddArpNeighbors(const grpc::ARPNeighbors& neighbors) {
  TRY(CheckCount("neighbours", neighbors.arpneighbors_size()));
  RouteSocket socket = TRY(RouteSocket::Open());
  const std::vector<Link> links = TRY(socket.ListLinks());
  for (const types::ARPNeighbor& entry : neighbors.arpneighbors()) {
    const std::string& text = entry.toipaddress().address();
    linux::Neighbor neighbor;
    // Some hosts write the prefix behind the address.
    neighbor.address = TRY_CTX(IpAddress::Parse(text.substr(0, text.find('/'))), "neighbour '{}'", text);
    const Link* const link = FindByName(links, entry.device());
    if (link == nullptr)
      return MakeError(Code::kNotFound, "neighbour '{}': no link '{}'", text, entry.device());
    neighbor.link_index = link->index;
    if (!entry.lladdr().empty()) {
      neighbor.hardware_address =
          TRY_CTX(linux::ParseHardwareAddress(entry.lladdr()), "neighbour '{}'", text);
    }
    if (entry.state() < 0 || entry.state() > UINT16_MAX || entry.flags() < 0 || entry.flags() > UINT8_MAX) {
      return MakeError(Code::kInvalidArgument, "neighbour '{}': state {} or flags {} are out of range", text,
                       entry.state(), entry.flags());
    }
    if (entry.state() != 0) neighbor.state = static_cast<uint16_t>(entry.state());
    neighbor.flags = static_cast<uint8_t>(entry.flags());
    TRY(socket.ReplaceNeighbor(neighbor));
  }
  return {};
}

}  // namespace kata::agent
