// Against this machine's kernel, in a network namespace of the test's own.
#include "linux/netlink/route.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <thread>

#include "linux/namespaces.h"
#include "support/ip_command.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::Ip;
using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;

// Runs `body` on a thread in a new network namespace, which goes with the thread.
void InNewNetwork(const std::function<void()>& body) {
  std::thread([&] {
    ASSERT_OK(Unshare(CLONE_NEWNET));
    body();
  }).join();
}

IpAddress Address(const std::string& text) {
  return IpAddress::Parse(text).value();
}
IpPrefix Prefix(const std::string& text) {
  return IpPrefix::Parse(text).value();
}

class RouteSocketTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(RouteSocketTest, ChangesALink) {
  InNewNetwork([] {
    Ip({"link", "add", "d0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "p0"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    ASSERT_OK_AND_ASSIGN(const Link link, socket.FindLink("d0"));
    EXPECT_EQ(link.kind, "veth");
    EXPECT_EQ(FormatHardwareAddress(link.hardware_address), "02:00:00:00:00:01");
    EXPECT_EQ(link.mtu, 1500u);
    ASSERT_OK(socket.RenameLink(link.index, "eth0"));
    ASSERT_OK(socket.SetLinkMtu(link.index, 1400));
    ASSERT_OK(socket.SetLinkFlags(link.index, IFF_UP | IFF_NOARP, 0));
    ASSERT_OK_AND_ASSIGN(Link changed, socket.FindLink("eth0"));
    EXPECT_EQ(changed.mtu, 1400u);
    EXPECT_EQ(changed.flags & (IFF_UP | IFF_NOARP), unsigned{IFF_UP | IFF_NOARP});
    ASSERT_OK(socket.SetLinkFlags(link.index, 0, IFF_NOARP));
    ASSERT_OK_AND_ASSIGN(changed, socket.FindLink("eth0"));
    EXPECT_EQ(changed.flags & (IFF_UP | IFF_NOARP), unsigned{IFF_UP});
    EXPECT_THAT(socket.FindLink("d0"), IsError(Code::kNotFound, HasSubstr("no link 'd0'")));
    // The kernel's refusals, in its own words where it has some.
    EXPECT_THAT(socket.SetLinkMtu(link.index, 1), IsError(Code::kInvalidArgument, HasSubstr("mtu")));
    EXPECT_FALSE(socket.RenameLink(4711, "x"));
    EXPECT_THAT(socket.RenameLink(link.index, "a name"), IsErrorCode(Code::kInvalidArgument));
  });
}

TEST_F(RouteSocketTest, AddressesRoutesAndNeighbours) {
  InNewNetwork([] {
    Ip({"link", "add", "d0", "up", "type", "veth", "peer", "name", "p0"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    ASSERT_OK_AND_ASSIGN(const Link link, socket.FindLink("d0"));
    LinkAddress with_broadcast{link.index, Prefix("192.0.2.10/24")};
    with_broadcast.broadcast = Address("192.0.2.255");
    for (const LinkAddress& address : {with_broadcast, LinkAddress{link.index, Prefix("2001:db8::10/64")}}) {
      ASSERT_OK(socket.AddAddress(address));
      ASSERT_OK(socket.AddAddress(address)) << "twice is once";
    }
    ASSERT_OK_AND_ASSIGN(std::vector<LinkAddress> addresses, socket.ListAddresses());
    const auto has_address = [&](const char* text) {
      return std::any_of(addresses.begin(), addresses.end(), [&](const LinkAddress& address) {
        return address.link_index == link.index && address.prefix == Prefix(text);
      });
    };
    EXPECT_THAT(addresses, testing::Contains(with_broadcast));
    EXPECT_TRUE(has_address("2001:db8::10/64"));

    Route route;
    route.destination = Prefix("198.51.100.0/24");
    route.gateway = Address("192.0.2.1");
    route.source = Address("192.0.2.10");
    route.link_index = link.index;
    route.mtu = 1300;
    ASSERT_OK(socket.AddRoute(route));
    EXPECT_THAT(socket.AddRoute(route), IsErrorCode(Code::kAlreadyExists));
    Route other_way = route;
    other_way.gateway = Address("192.0.2.2");
    ASSERT_OK(socket.AddRoute(other_way)) << "beside the first";
    Route less_wanted = route;
    less_wanted.gateway = Address("192.0.2.3");
    less_wanted.metric = 100;
    less_wanted.protocol = RTPROT_STATIC;
    ASSERT_OK(socket.AddRoute(less_wanted));
    Route everything;
    everything.family = AF_INET6;
    everything.gateway = Address("2001:db8::1");
    everything.link_index = link.index;
    ASSERT_OK(socket.AddRoute(everything));
    ASSERT_OK_AND_ASSIGN(std::vector<Route> routes, socket.ListRoutes());
    const auto find = [&](const Route& wanted) {
      return std::find_if(routes.begin(), routes.end(), [&](const Route& r) {
        return r.table == RT_TABLE_MAIN && r.destination == wanted.destination && r.gateway == wanted.gateway;
      });
    };
    ASSERT_NE(find(route), routes.end());
    ASSERT_NE(find(other_way), routes.end());
    ASSERT_NE(find(less_wanted), routes.end());
    EXPECT_EQ(find(less_wanted)->metric, 100u);
    EXPECT_EQ(find(less_wanted)->protocol, RTPROT_STATIC);
    EXPECT_EQ(find(route)->mtu, 1300u);
    EXPECT_EQ(find(route)->source, Address("192.0.2.10"));
    EXPECT_EQ(find(route)->protocol, RTPROT_BOOT);
    ASSERT_NE(find(everything), routes.end());
    ASSERT_OK(socket.DeleteRoute(*find(route)));
    ASSERT_OK(socket.DeleteRoute(route)) << "gone already";
    ASSERT_OK_AND_ASSIGN(routes, socket.ListRoutes());
    EXPECT_EQ(find(route), routes.end());
    Route nowhere = route;
    nowhere.gateway = Address("203.0.113.1");
    EXPECT_THAT(socket.AddRoute(nowhere), IsError(testing::_, HasSubstr("gateway")));

    Neighbor neighbor;
    neighbor.link_index = link.index;
    neighbor.address = Address("192.0.2.1");
    neighbor.hardware_address = ParseHardwareAddress("02:00:00:00:00:02").value();
    ASSERT_OK(socket.ReplaceNeighbor(neighbor));
    ASSERT_OK_AND_ASSIGN(const std::vector<Neighbor> neighbors, socket.ListNeighbors());
    const auto it = std::find_if(neighbors.begin(), neighbors.end(),
                                 [&](const Neighbor& entry) { return entry.address == neighbor.address; });
    ASSERT_NE(it, neighbors.end());
    EXPECT_EQ(it->hardware_address, neighbor.hardware_address);
    EXPECT_EQ(it->state, NUD_PERMANENT);

    ASSERT_OK(socket.DeleteAddress({link.index, Prefix("192.0.2.10/24")}));
    ASSERT_OK(socket.DeleteAddress({link.index, Prefix("192.0.2.10/24")})) << "gone already";
    ASSERT_OK_AND_ASSIGN(addresses, socket.ListAddresses());
    EXPECT_FALSE(has_address("192.0.2.10/24"));
  });
}

// More links than one datagram of a dump holds.
TEST_F(RouteSocketTest, ReadsDumpsOfManyParts) {
  InNewNetwork([] {
    constexpr int kLinks = 60;
    for (int i = 0; i < kLinks; ++i) Ip({"link", "add", fmt::format("d{}", i), "type", "ifb"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    ASSERT_OK_AND_ASSIGN(const std::vector<Link> links, socket.ListLinks());
    EXPECT_GE(links.size(), static_cast<size_t>(kLinks));
    EXPECT_OK(socket.FindLink("d59"));
  });
}

TEST(LinkNameTest, FollowsTheKernelsRule) {
  for (const char* name : {"e", "eth0", "123456789012345", "a.b", "a-b_c@d"}) EXPECT_OK(CheckLinkName(name));
  for (const char* name : {"", ".", "..", "a/b", "a b", "a:b", "a\tb", "1234567890123456"}) {
    EXPECT_THAT(CheckLinkName(name), IsErrorCode(Code::kInvalidArgument)) << name;
  }
  EXPECT_THAT(CheckLinkName(std::string_view("a\0b", 3)), IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::linux
