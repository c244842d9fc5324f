#include "linux/netlink/route.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>

#include <cctype>
#include <cerrno>
#include <utility>

namespace kata::linux {
namespace {

using netlink::Attributes;
using netlink::Message;
using netlink::MessageBuilder;
using netlink::ParsePayload;

constexpr uint16_t kRequest = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;
// Tables that change under a dump are read again this often.
constexpr int kDumpAttempts = 5;

// None of the families that the project speaks of: MPLS routes, bridge neighbours ...
bool IsIp(uint8_t family) {
  return family == AF_INET || family == AF_INET6;
}

Result<std::optional<IpAddress>> GetAddress(const Attributes& attributes, uint16_t type) {
  const std::optional<std::string_view> bytes = attributes.Get(type);
  if (!bytes) return std::optional<IpAddress>();
  return std::optional<IpAddress>(TRY(IpAddress::FromBytes(*bytes)));
}

MessageBuilder LinkRequest(int index, unsigned flags, unsigned change) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  header.ifi_flags = flags;
  header.ifi_change = change;
  return MessageBuilder(RTM_NEWLINK, kRequest, header);
}

MessageBuilder AddressRequest(uint16_t type, uint16_t flags, const LinkAddress& address) {
  ifaddrmsg header{};
  header.ifa_family = static_cast<uint8_t>(address.prefix.address.family());
  header.ifa_prefixlen = address.prefix.length;
  header.ifa_scope = address.scope;
  header.ifa_index = static_cast<unsigned>(address.link_index);
  // Who gave the address to the guest has made sure of it; a tentative address refuses connections for a
  // second.
  if (header.ifa_family == AF_INET6) header.ifa_flags = IFA_F_NODAD;
  MessageBuilder request(type, static_cast<uint16_t>(kRequest | flags), header);
  request.Add(IFA_LOCAL, address.prefix.address.bytes());
  request.Add(IFA_ADDRESS, address.prefix.address.bytes());
  if (address.broadcast) request.Add(IFA_BROADCAST, address.broadcast->bytes());
  return request;
}

MessageBuilder RouteRequest(uint16_t type, uint16_t flags, const Route& route) {
  rtmsg header{};
  header.rtm_family = route.family;
  header.rtm_dst_len = route.destination ? route.destination->length : 0;
  header.rtm_table = static_cast<uint8_t>(route.table < 256 ? route.table : RT_TABLE_COMPAT);
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.scope;
  header.rtm_type = route.type;
  header.rtm_flags = route.flags;
  MessageBuilder request(type, static_cast<uint16_t>(kRequest | flags), header);
  request.AddU32(RTA_TABLE, route.table);
  if (route.destination) request.Add(RTA_DST, route.destination->address.bytes());
  if (route.gateway) request.Add(RTA_GATEWAY, route.gateway->bytes());
  if (route.source) request.Add(RTA_PREFSRC, route.source->bytes());
  if (route.link_index != 0) request.AddU32(RTA_OIF, static_cast<uint32_t>(route.link_index));
  if (route.metric != 0) request.AddU32(RTA_PRIORITY, route.metric);
  if (route.mtu != 0) {
    const size_t metrics = request.BeginNest(RTA_METRICS);
    request.AddU32(RTAX_MTU, route.mtu);
    request.EndNest(metrics);
  }
  return request;
}

Result<std::optional<Link>> ParseAnyLink(std::string_view payload) {
  return std::optional<Link>(TRY(ParseLink(payload)));
}

// Success for errnos that say that the wanted state is there already.
Status Accept(Status status, std::initializer_list<int> errnos) {
  if (status) return status;
  for (const int number : errnos) {
    if (status.error().sys_errno() == number) return {};
  }
  return status;
}

}  // namespace

Status CheckLinkName(std::string_view name) {
  bool valid = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != "..";
  for (const char c : name) {
    if (c == '/' || c == ':' || c == '\0' || std::isspace(static_cast<unsigned char>(c))) valid = false;
  }
  if (!valid) return MakeError(Code::kInvalidArgument, "'{}' is not a name of an interface", name);
  return {};
}

Result<Link> ParseLink(std::string_view payload) {
  ifinfomsg header{};
  const Attributes attributes = TRY(ParsePayload(payload, header));
  Link link;
  link.index = header.ifi_index;
  link.flags = header.ifi_flags;
  link.type = header.ifi_type;
  link.name = attributes.GetString(IFLA_IFNAME);
  link.mtu = attributes.GetU32(IFLA_MTU).value_or(0);
  link.master_index = static_cast<int>(attributes.GetU32(IFLA_MASTER).value_or(0));
  link.hardware_address = std::string(attributes.Get(IFLA_ADDRESS).value_or(std::string_view()));
  if (const std::optional<std::string_view> info = attributes.Get(IFLA_LINKINFO)) {
    link.kind = TRY(Attributes::Parse(*info)).GetString(IFLA_INFO_KIND);
  }
  return link;
}

Result<std::optional<LinkAddress>> ParseLinkAddress(std::string_view payload) {
  ifaddrmsg header{};
  const Attributes attributes = TRY(ParsePayload(payload, header));
  if (!IsIp(header.ifa_family)) return std::optional<LinkAddress>();
  // On a point-to-point link IFA_ADDRESS is the peer's (rtnetlink(7)); IPv6 has only that.
  std::optional<IpAddress> address = TRY(GetAddress(attributes, IFA_LOCAL));
  if (!address) address = TRY(GetAddress(attributes, IFA_ADDRESS));
  if (!address) return std::optional<LinkAddress>();
  LinkAddress entry;
  entry.link_index = static_cast<int>(header.ifa_index);
  entry.prefix = {*address, header.ifa_prefixlen};
  entry.scope = header.ifa_scope;
  entry.broadcast = TRY(GetAddress(attributes, IFA_BROADCAST));
  return std::optional<LinkAddress>(entry);
}

Result<std::optional<Route>> ParseRoute(std::string_view payload) {
  rtmsg header{};
  const Attributes attributes = TRY(ParsePayload(payload, header));
  if (!IsIp(header.rtm_family) || (header.rtm_flags & RTM_F_CLONED) != 0) return std::optional<Route>();
  Route route;
  route.family = header.rtm_family;
  route.table = attributes.GetU32(RTA_TABLE).value_or(header.rtm_table);
  route.scope = header.rtm_scope;
  route.protocol = header.rtm_protocol;
  route.type = header.rtm_type;
  route.flags = header.rtm_flags;
  route.link_index = static_cast<int>(attributes.GetU32(RTA_OIF).value_or(0));
  route.metric = attributes.GetU32(RTA_PRIORITY).value_or(0);
  route.gateway = TRY(GetAddress(attributes, RTA_GATEWAY));
  route.source = TRY(GetAddress(attributes, RTA_PREFSRC));
  if (const std::optional<IpAddress> address = TRY(GetAddress(attributes, RTA_DST))) {
    route.destination = IpPrefix{*address, header.rtm_dst_len};
  }
  if (const std::optional<std::string_view> metrics = attributes.Get(RTA_METRICS)) {
    route.mtu = TRY(Attributes::Parse(*metrics)).GetU32(RTAX_MTU).value_or(0);
  }
  return std::optional<Route>(route);
}

Result<std::optional<Neighbor>> ParseNeighbor(std::string_view payload) {
  ndmsg header{};
  const Attributes attributes = TRY(ParsePayload(payload, header));
  const std::optional<IpAddress> address =
      IsIp(header.ndm_family) ? TRY(GetAddress(attributes, NDA_DST)) : std::nullopt;
  if (!address) return std::optional<Neighbor>();
  Neighbor neighbor;
  neighbor.link_index = header.ndm_ifindex;
  neighbor.address = *address;
  neighbor.hardware_address = std::string(attributes.Get(NDA_LLADDR).value_or(std::string_view()));
  neighbor.state = header.ndm_state;
  neighbor.flags = header.ndm_flags;
  return std::optional<Neighbor>(std::move(neighbor));
}

Result<RouteSocket> RouteSocket::Open(std::chrono::milliseconds timeout) {
  return RouteSocket(TRY(netlink::Socket::Open(NETLINK_ROUTE)), timeout);
}

Status RouteSocket::Request(const MessageBuilder& request) {
  return socket_.Request(request, Deadline::After(timeout_));
}

template <typename Header, typename T>
Result<std::vector<T>> RouteSocket::List(uint16_t type, Result<std::optional<T>> (*parse)(std::string_view)) {
  std::vector<T> list;
  const auto collect = [&](const Message& message) -> Status {
    std::optional<T> entry = TRY(parse(message.payload));
    if (entry) list.push_back(std::move(*entry));
    return {};
  };
  const Header any_family{};
  for (int attempt = 1;; ++attempt) {
    list.clear();
    Status status = socket_.Dump({type, kDump, any_family}, collect, Deadline::After(timeout_));
    if (status) return list;
    if (status.error().code() != Code::kUnavailable || attempt == kDumpAttempts)
      return std::move(status).error();
  }
}

Result<std::vector<Link>> RouteSocket::ListLinks() {
  return TRY_CTX((List<ifinfomsg>(RTM_GETLINK, ParseAnyLink)), "list the interfaces");
}

Result<std::vector<LinkAddress>> RouteSocket::ListAddresses() {
  return TRY_CTX((List<ifaddrmsg>(RTM_GETADDR, ParseLinkAddress)), "list the addresses");
}

Result<std::vector<Route>> RouteSocket::ListRoutes() {
  return TRY_CTX((List<rtmsg>(RTM_GETROUTE, ParseRoute)), "list the routes");
}

Result<std::vector<Neighbor>> RouteSocket::ListNeighbors() {
  return TRY_CTX((List<ndmsg>(RTM_GETNEIGH, ParseNeighbor)), "list the neighbours");
}

Result<Link> RouteSocket::FindLink(const std::string& name) {
  for (Link& link : TRY(ListLinks())) {
    if (link.name == name) return std::move(link);
  }
  return MakeError(Code::kNotFound, "no link '{}'", name);
}

Status RouteSocket::SetLinkFlags(int index, unsigned set, unsigned clear) {
  return Request(LinkRequest(index, set, set | clear));
}

Status RouteSocket::RenameLink(int index, const std::string& name) {
  TRY(CheckLinkName(name));
  MessageBuilder request = LinkRequest(index, 0, 0);
  request.AddString(IFLA_IFNAME, name);
  TRY_CTX(Request(request), "rename interface {} to '{}'", index, name);
  return {};
}

Status RouteSocket::SetLinkMtu(int index, uint32_t mtu) {
  MessageBuilder request = LinkRequest(index, 0, 0);
  request.AddU32(IFLA_MTU, mtu);
  TRY_CTX(Request(request), "set the MTU of interface {} to {}", index, mtu);
  return {};
}

Status RouteSocket::DisableAddressGeneration(int index) {
  MessageBuilder request = LinkRequest(index, 0, 0);
  const size_t families = request.BeginNest(IFLA_AF_SPEC);
  const size_t inet6 = request.BeginNest(AF_INET6);
  const char none = IN6_ADDR_GEN_MODE_NONE;
  request.Add(IFLA_INET6_ADDR_GEN_MODE, {&none, 1});
  request.EndNest(inet6);
  request.EndNest(families);
  // EAFNOSUPPORT: a kernel without IPv6.
  TRY_CTX(Accept(Request(request), {EAFNOSUPPORT}), "switch off address generation of interface {}", index);
  return {};
}

Status RouteSocket::CreateMacvtap(const std::string& name, int lower) {
  TRY(CheckLinkName(name));
  const ifinfomsg header{};
  MessageBuilder request(RTM_NEWLINK, kRequest | NLM_F_CREATE | NLM_F_EXCL, header);
  request.AddString(IFLA_IFNAME, name);
  request.AddU32(IFLA_LINK, static_cast<uint32_t>(lower));
  const size_t info = request.BeginNest(IFLA_LINKINFO);
  request.AddString(IFLA_INFO_KIND, "macvtap");
  const size_t data = request.BeginNest(IFLA_INFO_DATA);
  request.AddU32(IFLA_MACVLAN_MODE, MACVLAN_MODE_PASSTHRU);
  request.EndNest(data);
  request.EndNest(info);
  TRY_CTX(Request(request), "create macvtap device '{}'", name);
  return {};
}

Status RouteSocket::DeleteLink(int index) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  TRY_CTX(Accept(Request({RTM_DELLINK, kRequest, header}), {ENODEV}), "delete interface {}", index);
  return {};
}

Status RouteSocket::AddAddress(const LinkAddress& address) {
  const MessageBuilder request = AddressRequest(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
  TRY_CTX(Accept(Request(request), {EEXIST}), "add address '{}'", address.prefix.ToString());
  return {};
}

Status RouteSocket::DeleteAddress(const LinkAddress& address) {
  const MessageBuilder request = AddressRequest(RTM_DELADDR, 0, address);
  TRY_CTX(Accept(Request(request), {EADDRNOTAVAIL}), "delete address '{}'", address.prefix.ToString());
  return {};
}

Status RouteSocket::AddRoute(const Route& route) {
  return Request(RouteRequest(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, route));
}

Status RouteSocket::DeleteRoute(const Route& route) {
  return Accept(Request(RouteRequest(RTM_DELROUTE, 0, route)), {ESRCH});
}

Status RouteSocket::ReplaceNeighbor(const Neighbor& neighbor) {
  ndmsg header{};
  header.ndm_family = static_cast<uint8_t>(neighbor.address.family());
  header.ndm_ifindex = neighbor.link_index;
  header.ndm_state = neighbor.state;
  header.ndm_flags = neighbor.flags;
  header.ndm_type = RTN_UNICAST;
  MessageBuilder request(RTM_NEWNEIGH, kRequest | NLM_F_CREATE | NLM_F_REPLACE, header);
  request.Add(NDA_DST, neighbor.address.bytes());
  if (!neighbor.hardware_address.empty()) request.Add(NDA_LLADDR, neighbor.hardware_address);
  TRY_CTX(Request(request), "add neighbour '{}'", neighbor.address.ToString());
  return {};
}

Status BringUpLoopback() {
  RouteSocket socket = TRY(RouteSocket::Open());
  return socket.SetLinkFlags(TRY(socket.FindLink("lo")).index, IFF_UP, 0);
}

}  // namespace kata::linux
