// Interfaces, addresses, routes and neighbours of a network namespace (rtnetlink(7)).
#pragma once

#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "linux/netlink/ip_address.h"
#include "linux/netlink/socket.h"

namespace kata::linux {

struct Link {
  int index = 0;
  std::string name;
  std::string kind;              // "veth", "bridge" ...; empty: a device, loopback
  std::string hardware_address;  // bytes; empty: none
  uint32_t mtu = 0;
  unsigned flags = 0;    // IFF_*
  uint16_t type = 0;     // ARPHRD_*
  int master_index = 0;  // bridge or bond that it belongs to; 0: none
};

struct LinkAddress {
  int link_index = 0;
  IpPrefix prefix;
  uint8_t scope = RT_SCOPE_UNIVERSE;
  std::optional<IpAddress> broadcast;  // IPv4 only
  friend bool operator==(const LinkAddress&, const LinkAddress&) = default;
};

struct Route {
  uint8_t family = AF_INET;
  std::optional<IpPrefix> destination;  // none: default
  std::optional<IpAddress> gateway;
  std::optional<IpAddress> source;  // preferred source address
  int link_index = 0;               // 0: the kernel finds it by the gateway
  uint32_t table = RT_TABLE_MAIN;
  uint8_t scope = RT_SCOPE_UNIVERSE;
  uint8_t protocol = RTPROT_BOOT;  // who made it
  uint8_t type = RTN_UNICAST;
  unsigned flags = 0;  // RTNH_F_ONLINK
  uint32_t metric = 0;
  uint32_t mtu = 0;  // 0: the link's
};

struct Neighbor {
  int link_index = 0;
  IpAddress address;
  std::string hardware_address;  // bytes
  uint16_t state = NUD_PERMANENT;
  uint8_t flags = 0;  // NTF_*
};

// A valid name of an interface: 1 to 15 bytes, neither "." nor "..", no '/', ':' or white space
// (dev_valid_name). kInvalidArgument otherwise.
Status CheckLinkName(std::string_view name);

// The tables of the network namespace in which it was opened. Not thread safe. Each call is bounded by the
// time limit given at Open and returns the kernel's words for a refusal.
class RouteSocket {
 public:
  static Result<RouteSocket> Open(std::chrono::milliseconds timeout = std::chrono::seconds(10));

  Result<std::vector<Link>> ListLinks();
  Result<std::vector<LinkAddress>> ListAddresses();
  // Of all tables and both families; without the cache's entries.
  Result<std::vector<Route>> ListRoutes();
  Result<std::vector<Neighbor>> ListNeighbors();
  // By name. kNotFound: "no link 'eth0'".
  Result<Link> FindLink(const std::string& name);

  // `flags`: IFF_* to set and clear, e.g. IFF_UP.
  Status SetLinkFlags(int index, unsigned set, unsigned clear);
  // The link must be down (kernels before 6.2 insist).
  Status RenameLink(int index, const std::string& name);
  Status SetLinkMtu(int index, uint32_t mtu);
  // The kernel gives the link no IPv6 address of its own making (IN6_ADDR_GEN_MODE_NONE), and so sends
  // nothing by itself over it.
  Status DisableAddressGeneration(int index);
  // A macvtap device above `lower` in passthru mode: it has lower's hardware address and takes all its
  // packets. kAlreadyExists, kResourceExhausted: `lower` carries another such device.
  Status CreateMacvtap(const std::string& name, int lower);
  // One that is not there is success.
  Status DeleteLink(int index);

  // An address that is there already is success. For IPv6 without duplicate address detection.
  Status AddAddress(const LinkAddress& address);
  // One that is not there is success.
  Status DeleteAddress(const LinkAddress& address);

  // Behind those of the same destination and metric; kAlreadyExists: just that route is there.
  Status AddRoute(const Route& route);
  // One that is not there is success.
  Status DeleteRoute(const Route& route);
  Status ReplaceNeighbor(const Neighbor& neighbor);

  // Any other request (NLM_F_REQUEST and NLM_F_ACK set), see traffic_control.h.
  Status Request(const netlink::MessageBuilder& request);

 private:
  RouteSocket(netlink::Socket socket, std::chrono::milliseconds timeout)
      : socket_(std::move(socket)), timeout_(timeout) {}
  // What `parse` makes of a dump for all families; begins anew when the tables changed meanwhile.
  template <typename Header, typename T>
  Result<std::vector<T>> List(uint16_t type, Result<std::optional<T>> (*parse)(std::string_view));

  netlink::Socket socket_;
  std::chrono::milliseconds timeout_;
};

// Of the calling thread's network namespace.
Status BringUpLoopback();

// --- one message of a dump, for RouteSocket and the fuzzer; nullopt for entries that are of no interest ---

Result<Link> ParseLink(std::string_view payload);
Result<std::optional<LinkAddress>> ParseLinkAddress(std::string_view payload);
Result<std::optional<Route>> ParseRoute(std::string_view payload);
Result<std::optional<Neighbor>> ParseNeighbor(std::string_view payload);

}  // namespace kata::linux
