#include "network/scan.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>

#include "support/result_matchers.h"

namespace kata::network {
namespace {

using linux::IpAddress;
using linux::IpPrefix;
using linux::Ipv6Settings;
using linux::Link;
using linux::LinkAddress;
using linux::Neighbor;
using linux::Route;

constexpr int kEth0 = 4;
constexpr int kEth1 = 2;

IpAddress Address(const std::string& text) {
  return IpAddress::Parse(text).value();
}
IpPrefix Prefix(const std::string& text) {
  return IpPrefix::Parse(text).value();
}

Link MakeLink(int index, const std::string& name, unsigned flags) {
  Link link;
  link.index = index;
  link.name = name;
  link.kind = "veth";
  link.mtu = 1400;
  link.flags = flags;
  link.hardware_address = linux::ParseHardwareAddress("02:42:0a:00:00:02").value();
  return link;
}

Route MakeRoute(int link_index, const std::string& gateway) {
  Route route;
  route.link_index = link_index;
  route.gateway = Address(gateway);
  route.family = static_cast<uint8_t>(route.gateway->family());
  return route;
}

Neighbor MakeNeighbor(int link_index, const std::string& address, uint16_t state) {
  Neighbor neighbor;
  neighbor.link_index = link_index;
  neighbor.address = Address(address);
  neighbor.hardware_address = linux::ParseHardwareAddress("02:42:0a:00:00:01").value();
  neighbor.state = state;
  return neighbor;
}

Tables TwoInterfaces() {
  Tables tables;
  tables.links = {MakeLink(1, "lo", IFF_UP | IFF_LOOPBACK), MakeLink(kEth0, "eth0", IFF_UP | IFF_NOARP),
                  MakeLink(3, "tunl0", 0), MakeLink(kEth1, "eth1", IFF_UP), MakeLink(9, "tap0_kata", IFF_UP)};
  tables.addresses = {{1, Prefix("127.0.0.1/8")},
                      {kEth0, Prefix("10.0.0.2/24")},
                      {kEth1, Prefix("10.1.0.2/16")},
                      {kEth0, Prefix("2001:db8::2/64")}};
  tables.addresses[1].broadcast = Address("10.0.0.255");
  return tables;
}

TEST(SelectForGuestTest, TakesInterfacesThatAreUp) {
  const Network network = SelectForGuest(TwoInterfaces(), /*own_links=*/{9});
  ASSERT_EQ(network.interfaces.size(), 2u);
  EXPECT_EQ(network.interfaces[0].link.name, "eth1");
  EXPECT_THAT(network.interfaces[0].addresses,
              testing::ElementsAre(LinkAddress{kEth1, Prefix("10.1.0.2/16")}));
  EXPECT_EQ(network.interfaces[1].link.name, "eth0");
  LinkAddress with_broadcast{kEth0, Prefix("10.0.0.2/24")};
  with_broadcast.broadcast = Address("10.0.0.255");
  EXPECT_THAT(network.interfaces[1].addresses,
              testing::ElementsAre(with_broadcast, LinkAddress{kEth0, Prefix("2001:db8::2/64")}));
  EXPECT_EQ(network.Find(9), nullptr);
  EXPECT_EQ(network.Find(kEth0), &network.interfaces[1]);
}

TEST(SelectForGuestTest, TakesRoutesThatTheGuestDoesNotMakeItself) {
  Tables tables = TwoInterfaces();
  const Route wanted = MakeRoute(kEth0, "10.0.0.1");
  Route kernels = wanted;
  kernels.protocol = RTPROT_KERNEL;
  Route local = wanted;
  local.table = RT_TABLE_LOCAL;
  Route blackhole = wanted;
  blackhole.type = RTN_BLACKHOLE;
  Route advertised = wanted;
  advertised.protocol = RTPROT_RA;
  tables.routes = {kernels, advertised, local, blackhole, MakeRoute(9, "10.0.0.1"), MakeRoute(0, "10.0.0.1"),
                   wanted};
  const Network network = SelectForGuest(tables, {9});
  ASSERT_EQ(network.routes.size(), 1u);
  EXPECT_EQ(network.routes[0].link_index, kEth0);
}

TEST(SelectForGuestTest, TakesNeighboursThatStay) {
  Tables tables = TwoInterfaces();
  Neighbor proxy = MakeNeighbor(kEth0, "10.0.0.9", NUD_PERMANENT);
  proxy.flags = NTF_PROXY;
  tables.neighbors = {
      MakeNeighbor(kEth0, "10.0.0.1", NUD_PERMANENT), MakeNeighbor(kEth0, "10.0.0.3", NUD_REACHABLE),
      MakeNeighbor(kEth0, "ff02::1", NUD_NOARP), MakeNeighbor(9, "10.0.0.1", NUD_PERMANENT), proxy};
  const Network network = SelectForGuest(tables, {9});
  ASSERT_EQ(network.neighbors.size(), 1u);
  EXPECT_EQ(network.neighbors[0].address, Address("10.0.0.1"));
}

TEST(SelectForGuestTest, TakesWhetherThereIsIpv6) {
  Tables tables = TwoInterfaces();
  tables.ipv6["all"] = {.disable_ipv6 = 1};
  tables.ipv6["default"] = {.accept_ra = 0};
  tables.ipv6["lo"] = {.autoconf = 0};
  tables.ipv6["eth0"] = {.accept_ra = 2, .addr_gen_mode = IN6_ADDR_GEN_MODE_STABLE_PRIVACY};
  const Network network = SelectForGuest(tables, {9});
  EXPECT_EQ(network.interfaces[0].ipv6, Ipv6Settings());
  EXPECT_EQ(network.interfaces[1].ipv6, tables.ipv6["eth0"]);
  const agent::v1::SetIpv6Request message = Ipv6ToMessage(network);
  EXPECT_EQ(message.all().disable_ipv6(), 1u);
  EXPECT_EQ(message.defaults().accept_ra(), 0u);
  EXPECT_EQ(message.defaults().disable_ipv6(), 0u);
  EXPECT_EQ(message.loopback().autoconf(), 0u);
  const types::Interface interface = ToMessage(network.interfaces[1], "");
  EXPECT_EQ(interface.ipv6().accept_ra(), 2u);
  EXPECT_EQ(interface.ipv6().autoconf(), 1u);
  // The address itself is told.
  EXPECT_EQ(interface.ipv6().addr_gen_mode(), unsigned{IN6_ADDR_GEN_MODE_NONE});
}

TEST(NetworkTest, DropsAnInterfaceWithAllThatIsOfIt) {
  Tables tables = TwoInterfaces();
  tables.routes = {MakeRoute(kEth1, "10.1.0.1"), MakeRoute(kEth0, "10.0.0.1")};
  tables.neighbors = {MakeNeighbor(kEth0, "10.0.0.1", NUD_PERMANENT)};
  Network network = SelectForGuest(tables, {9});
  network.Drop(kEth0);
  EXPECT_EQ(network.Find(kEth0), nullptr);
  ASSERT_EQ(network.routes.size(), 1u);
  EXPECT_EQ(network.routes[0].link_index, kEth1);
  EXPECT_TRUE(network.neighbors.empty());
}

TEST(MessageTest, SayWhatTheAgentShallDo) {
  Tables tables = TwoInterfaces();
  Route subnet = MakeRoute(kEth0, "10.0.0.1");
  subnet.destination = Prefix("192.0.2.0/24");
  subnet.source = Address("10.0.0.2");
  subnet.flags = RTNH_F_ONLINK;
  subnet.scope = RT_SCOPE_UNIVERSE;
  subnet.mtu = 1300;
  subnet.metric = 200;
  subnet.protocol = RTPROT_STATIC;
  tables.routes = {MakeRoute(kEth1, "10.1.0.1"), subnet, MakeRoute(kEth0, "fe80::1")};
  tables.neighbors = {MakeNeighbor(kEth0, "10.0.0.1", NUD_PERMANENT)};
  const Network network = SelectForGuest(tables, {9});

  const types::Interface interface = ToMessage(network.interfaces[1], "10/00");
  EXPECT_EQ(interface.name(), "eth0");
  EXPECT_EQ(interface.device(), "eth0");
  EXPECT_EQ(interface.hwaddr(), "02:42:0a:00:00:02");
  EXPECT_EQ(interface.mtu(), 1400u);
  EXPECT_EQ(interface.type(), "veth");
  EXPECT_EQ(interface.devicepath(), "10/00");
  EXPECT_EQ(interface.raw_flags(), unsigned{IFF_NOARP});
  ASSERT_EQ(interface.ipaddresses_size(), 2);
  EXPECT_EQ(interface.ipaddresses(0).family(), types::v4);
  EXPECT_EQ(interface.ipaddresses(0).address(), "10.0.0.2");
  EXPECT_EQ(interface.ipaddresses(0).mask(), "24");
  EXPECT_EQ(interface.ipaddresses(0).broadcast(), "10.0.0.255");
  EXPECT_EQ(interface.ipaddresses(1).family(), types::v6);
  EXPECT_EQ(interface.ipaddresses(1).address(), "2001:db8::2");
  EXPECT_EQ(interface.ipaddresses(1).mask(), "64");
  EXPECT_EQ(interface.ipaddresses(1).broadcast(), "");
  EXPECT_EQ(ToMessage(network.interfaces[0], "").raw_flags(), 0u);

  const grpc::Routes routes = RoutesToMessage(network);
  ASSERT_EQ(routes.routes_size(), 3);
  EXPECT_EQ(routes.routes(0).dest(), "");
  EXPECT_EQ(routes.routes(0).gateway(), "10.1.0.1");
  EXPECT_EQ(routes.routes(0).device(), "eth1");
  EXPECT_EQ(routes.routes(1).dest(), "192.0.2.0/24");
  EXPECT_EQ(routes.routes(1).source(), "10.0.0.2");
  EXPECT_EQ(routes.routes(1).flags(), unsigned{RTNH_F_ONLINK});
  EXPECT_EQ(routes.routes(1).mtu(), 1300u);
  EXPECT_EQ(routes.routes(1).metric(), 200u);
  EXPECT_EQ(routes.routes(1).protocol(), unsigned{RTPROT_STATIC});
  EXPECT_EQ(routes.routes(2).family(), types::v6);

  const grpc::ARPNeighbors neighbors = NeighborsToMessage(network);
  ASSERT_EQ(neighbors.arpneighbors_size(), 1);
  EXPECT_EQ(neighbors.arpneighbors(0).toipaddress().address(), "10.0.0.1");
  EXPECT_EQ(neighbors.arpneighbors(0).device(), "eth0");
  EXPECT_EQ(neighbors.arpneighbors(0).lladdr(), "02:42:0a:00:00:01");
  EXPECT_EQ(neighbors.arpneighbors(0).state(), NUD_PERMANENT);
}

TEST(MessageTest, ANetworkWithoutInterfacesSaysNothing) {
  const Network network = SelectForGuest({}, {});
  EXPECT_EQ(RoutesToMessage(network).ByteSizeLong(), 0u);
  EXPECT_EQ(NeighborsToMessage(network).ByteSizeLong(), 0u);
}

}  // namespace
}  // namespace kata::network
