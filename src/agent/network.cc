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
#include "base/file.h"
#include "linux/netlink/route.h"

namespace kata::agent {
namespace {

using linux::IpAddress;
using linux::IpPrefix;
using linux::Link;
using linux::Route;
using linux::RouteSocket;

constexpr char kDisableIpv6[] = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
constexpr char kDefaultV4[] = "0.0.0.0";
constexpr char kDefaultV6[] = "::1";
constexpr int kMaxEntries = 4096;  // of one request: no pod has so many addresses, routes or neighbours

Status CheckCount(const char* what, int count) {
  if (count <= kMaxEntries) return {};
  return MakeError(Code::kInvalidArgument, "{} {}, the limit is {}", count, what, kMaxEntries);
}

bool Ipv6Enabled() {
  const Result<std::string> text = ReadFile(kDisableIpv6);
  return text && text->starts_with('0');
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

Result<IpPrefix> ParseAddress(const types::IPAddress& address) {
  const std::string text =
      address.mask().empty() ? address.address() : address.address() + "/" + address.mask();
  return IpPrefix::Parse(text);
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
  std::vector<IpPrefix> addresses;
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
  TRY(CheckCount("addresses", interface.ipaddresses_size()));
  const bool ipv6 = Ipv6Enabled();
  for (const types::IPAddress& address : interface.ipaddresses()) {
    const IpPrefix prefix = TRY(ParseAddress(address));
    if (prefix.address.family() == AF_INET || ipv6) settings.addresses.push_back(prefix);
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

Status ReplaceAddresses(RouteSocket& socket, int index, const std::vector<IpPrefix>& wanted) {
  for (const linux::LinkAddress& address : TRY(socket.ListAddresses())) {
    if (address.link_index == index) TRY(socket.DeleteAddress(address));
  }
  for (const IpPrefix& prefix : wanted) TRY(socket.AddAddress({index, prefix}));
  return {};
}

Status Apply(RouteSocket& socket, const Link& link, const LinkSettings& settings) {
  TRY_CTX(socket.SetLinkFlags(link.index, 0, IFF_UP), "set the link down");
  TRY(Rename(socket, link, settings.name));
  TRY(ReplaceAddresses(socket, link.index, settings.addresses));
  if (settings.mtu != 0 && settings.mtu != link.mtu) TRY(socket.SetLinkMtu(link.index, settings.mtu));
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
  return result;
}

// Of what may be replaced: the main table without the routes that come and go with addresses.
bool IsReplaceable(const Route& route) {
  return route.table == RT_TABLE_MAIN && route.protocol != RTPROT_KERNEL;
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

Result<grpc::Interfaces> ListInterfaces() {
  RouteSocket socket = TRY(RouteSocket::Open());
  const std::vector<linux::LinkAddress> addresses = TRY(socket.ListAddresses());
  grpc::Interfaces result;
  for (const Link& link : TRY(socket.ListLinks())) {
    types::Interface& interface = *result.add_interfaces();
    interface.set_device(link.name);
    interface.set_name(link.name);
    interface.set_mtu(link.mtu);
    interface.set_hwaddr(linux::FormatHardwareAddress(link.hardware_address));
    interface.set_type(link.kind);
    interface.set_raw_flags(link.flags & IFF_NOARP);
    for (const linux::LinkAddress& address : addresses) {
      if (address.link_index != link.index) continue;
      types::IPAddress& entry = *interface.add_ipaddresses();
      entry.set_family(ToProto(address.prefix.address.family()));
      entry.set_address(address.prefix.address.ToString());
      entry.set_mask(fmt::format("{}", address.prefix.length));
    }
  }
  return result;
}

Status UpdateRoutes(const grpc::Routes& routes) {
  TRY(CheckCount("routes", routes.routes_size()));
  RouteSocket socket = TRY(RouteSocket::Open());
  const std::vector<Link> links = TRY(socket.ListLinks());
  const bool ipv6 = Ipv6Enabled();
  std::vector<std::pair<Route, std::string>> wanted;
  for (const types::Route& route : routes.routes()) {
    const Route parsed = TRY_CTX(ParseRoute(route, links), "{}", DescribeRoute(route));
    if (parsed.family == AF_INET || ipv6) wanted.emplace_back(parsed, DescribeRoute(route));
  }
  std::stable_partition(wanted.begin(), wanted.end(), [](const auto& entry) { return !entry.first.gateway; });
  for (const Route& route : TRY(socket.ListRoutes())) {
    if (IsReplaceable(route)) TRY_CTX(socket.DeleteRoute(route), "delete an old route");
  }
  for (const auto& [route, description] : wanted) {
    Status status = socket.ReplaceRoute(route);
    // A route that came with its address is as good.
    if (!status && status.error().code() == Code::kAlreadyExists) continue;
    TRY_CTX(std::move(status), "add {}", description);
  }
  return {};
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
