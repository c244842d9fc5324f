// The network methods from end to end: the agent in a network namespace of its own, with links made there.
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <thread>
#include <vector>

#include "agent/agent_fixture_test.h"
#include "agent/guest_program.h"
#include "proto/network_service.pb.h"

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;
using testing::Not;

class AgentNetworkTest : public AgentTest {
 protected:
  // Runs a program in the agent's network namespace.
  std::string InNetwork(const std::string& program, std::vector<std::string> args) {
    args.insert(args.begin(), {fmt::format("--net=/proc/{}/ns/net", server_.pid()), program});
    Result<std::string> output =
        RunGuestProgram({"/usr/bin/nsenter", args, {}, {}}, Deadline::After(std::chrono::seconds(60)));
    EXPECT_OK(output);
    return output.value_or(std::string());
  }
  void AddLink(const std::string& name, const std::string& address) {
    InNetwork("ip", {"link", "add", name, "address", address, "type", "veth", "peer", "name", name + "p"});
  }
  uint32_t Ipv6Setting(const std::string& link, const std::string& file) {
    const std::string text = InNetwork("cat", {fmt::format("/proc/sys/net/ipv6/conf/{}/{}", link, file)});
    return static_cast<uint32_t>(std::strtoul(text.c_str(), nullptr, 10));
  }
  Result<Empty> SetIpv6(const v1::SetIpv6Request& request) {
    return client_->CallSync<Empty>(std::string(protocol::kNetworkService), "SetIpv6", request,
                                    std::chrono::seconds(60));
  }
  Result<types::Interface> Update(const types::Interface& interface) {
    grpc::UpdateInterfaceRequest request;
    *request.mutable_interface() = interface;
    return Call<types::Interface>("UpdateInterface", request);
  }
  // By name.
  types::Interface Find(const std::string& name) {
    const auto list = Call<grpc::Interfaces>("ListInterfaces", grpc::ListInterfacesRequest());
    EXPECT_OK(list);
    for (const types::Interface& interface : list->interfaces()) {
      if (interface.name() == name) return interface;
    }
    ADD_FAILURE() << "no interface '" << name << "'";
    return {};
  }
};

types::Interface MakeInterface(const std::string& name, const std::string& hardware_address,
                               const std::vector<std::pair<std::string, std::string>>& addresses) {
  types::Interface interface;
  interface.set_name(name);
  interface.set_hwaddr(hardware_address);
  interface.set_mtu(1400);
  for (const auto& [address, mask] : addresses) {
    types::IPAddress& entry = *interface.add_ipaddresses();
    entry.set_address(address);
    entry.set_mask(mask);
  }
  return interface;
}

std::vector<std::string> Addresses(const types::Interface& interface) {
  std::vector<std::string> addresses;
  for (const types::IPAddress& address : interface.ipaddresses()) {
    addresses.push_back(address.address() + "/" + address.mask());
  }
  return addresses;
}

types::Route MakeRoute(const std::string& destination, const std::string& gateway, uint32_t scope) {
  types::Route route;
  route.set_dest(destination);
  route.set_gateway(gateway);
  route.set_device("eth0");
  route.set_scope(scope);
  return route;
}

TEST_F(AgentNetworkTest, UpdatesAnInterface) {
  AddLink("d0", "02:00:00:00:00:01");
  InNetwork("ip", {"address", "add", "198.51.100.7/24", "dev", "d0"});
  ASSERT_OK(
      Update(MakeInterface("eth0", "02:00:00:00:00:01", {{"192.0.2.10", "24"}, {"2001:db8::10", "64"}})));
  const types::Interface interface = Find("eth0");
  EXPECT_EQ(interface.hwaddr(), "02:00:00:00:00:01");
  EXPECT_EQ(interface.mtu(), 1400u);
  EXPECT_EQ(interface.type(), "veth");
  EXPECT_THAT(Addresses(interface), testing::IsSupersetOf({"192.0.2.10/24", "2001:db8::10/64"}));
  EXPECT_THAT(Addresses(interface), Not(testing::Contains("198.51.100.7/24"))) << "the old one is replaced";
  EXPECT_THAT(InNetwork("ip", {"link", "show", "eth0"}), HasSubstr(",UP"));
}

TEST_F(AgentNetworkTest, GivesABroadcastAddress) {
  AddLink("d0", "02:00:00:00:00:01");
  types::Interface wanted = MakeInterface("eth0", "02:00:00:00:00:01", {{"192.0.2.10", "24"}});
  wanted.mutable_ipaddresses(0)->set_broadcast("192.0.2.255");
  ASSERT_OK(Update(wanted));
  EXPECT_THAT(InNetwork("ip", {"address", "show", "eth0"}), HasSubstr("inet 192.0.2.10/24 brd 192.0.2.255 "));
  EXPECT_EQ(Find("eth0").ipaddresses(0).broadcast(), "192.0.2.255");
  wanted.mutable_ipaddresses(0)->set_broadcast("2001:db8::1");
  EXPECT_THAT(Update(wanted), IsErrorCode(Code::kInvalidArgument));
}

TEST_F(AgentNetworkTest, SwitchesIpv6OffAndOn) {
  AddLink("d0", "02:00:00:00:00:01");
  types::Interface wanted =
      MakeInterface("eth0", "02:00:00:00:00:01", {{"192.0.2.10", "24"}, {"2001:db8::10", "64"}});
  wanted.mutable_ipv6()->set_disable_ipv6(1);
  ASSERT_OK(Update(wanted));
  EXPECT_THAT(Addresses(Find("eth0")), testing::ElementsAre("192.0.2.10/24"));
  EXPECT_EQ(Ipv6Setting("eth0", "disable_ipv6"), 1u);
  EXPECT_EQ(Ipv6Setting("eth0", "accept_ra"), 0u);
  grpc::UpdateRoutesRequest routes;
  *routes.mutable_routes()->add_routes() = MakeRoute("2001:db8:1::/64", "2001:db8::1", 0);
  EXPECT_OK(Call<grpc::Routes>("UpdateRoutes", routes)) << "a route of IPv6 is left out";
  wanted.mutable_ipv6()->set_disable_ipv6(0);
  wanted.mutable_ipv6()->set_accept_ra(2);
  ASSERT_OK(Update(wanted));
  EXPECT_THAT(Addresses(Find("eth0")), testing::IsSupersetOf({"192.0.2.10/24", "2001:db8::10/64"}));
  EXPECT_EQ(Ipv6Setting("eth0", "accept_ra"), 2u);
  wanted.clear_ipv6();
  ASSERT_OK(Update(wanted));
  EXPECT_EQ(Ipv6Setting("eth0", "accept_ra"), 2u) << "as it was";
}

// As Docker has it: off for all, but for the interfaces of a network with IPv6.
TEST_F(AgentNetworkTest, SwitchesIpv6OffForAllButOne) {
  AddLink("d0", "02:00:00:00:00:01");
  v1::SetIpv6Request all;
  all.mutable_all()->set_disable_ipv6(1);
  all.mutable_loopback()->set_disable_ipv6(1);
  ASSERT_OK(SetIpv6(all));
  EXPECT_EQ(Ipv6Setting("all", "disable_ipv6"), 1u);
  EXPECT_EQ(Ipv6Setting("default", "disable_ipv6"), 1u) << "by the kernel";
  EXPECT_EQ(Ipv6Setting("lo", "disable_ipv6"), 1u);
  EXPECT_EQ(Ipv6Setting("d0", "disable_ipv6"), 1u);
  types::Interface wanted = MakeInterface("eth0", "02:00:00:00:00:01", {{"2001:db8::10", "64"}});
  wanted.mutable_ipv6();
  ASSERT_OK(Update(wanted));
  EXPECT_THAT(Addresses(Find("eth0")), testing::Contains("2001:db8::10/64"));
  all.mutable_loopback()->set_disable_ipv6(0);
  ASSERT_OK(SetIpv6(all));
  EXPECT_EQ(Ipv6Setting("lo", "disable_ipv6"), 0u);
  EXPECT_EQ(Ipv6Setting("eth0", "disable_ipv6"), 0u) << "what is so for all is not made so again";
}

TEST_F(AgentNetworkTest, SwapsNamesOnConflict) {
  AddLink("d0", "02:00:00:00:00:01");
  AddLink("d1", "02:00:00:00:00:02");
  ASSERT_OK(Update(MakeInterface("eth0", "02:00:00:00:00:01", {})));
  ASSERT_OK(Update(MakeInterface("eth0", "02:00:00:00:00:02", {})));
  EXPECT_EQ(Find("eth0").hwaddr(), "02:00:00:00:00:02");
  EXPECT_EQ(Find("d1").hwaddr(), "02:00:00:00:00:01");
  EXPECT_THAT(InNetwork("ip", {"link", "show", "d1"}), HasSubstr(",UP")) << "up as before";
}

TEST_F(AgentNetworkTest, SaysWhenThereIsNoSuchLink) {
  // Hosts look for these words.
  EXPECT_THAT(Update(MakeInterface("eth0", "02:00:00:00:00:77", {})),
              IsError(Code::kNotFound, HasSubstr("Link not found")));
  EXPECT_THAT(Update(MakeInterface("a/b", "02:00:00:00:00:77", {})), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Update(MakeInterface("eth0", "nonsense", {})), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Update(MakeInterface("eth0", "02:00:00:00:00:77", {{"1.2.3.4", "33"}})),
              IsErrorCode(Code::kInvalidArgument));
}

TEST_F(AgentNetworkTest, WaitsForALinkThatIsPluggedIn) {
  types::Interface interface = MakeInterface("eth0", "02:00:00:00:00:05", {{"192.0.2.10", "24"}});
  interface.set_devicepath("02/03");
  auto updated = std::async(std::launch::async, [&] { return Update(interface); });
  EXPECT_EQ(updated.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  AddLink("late", "02:00:00:00:00:05");
  ASSERT_OK(updated.get());
  EXPECT_EQ(Find("eth0").hwaddr(), "02:00:00:00:00:05");
}

TEST_F(AgentNetworkTest, ReplacesRoutes) {
  AddLink("d0", "02:00:00:00:00:01");
  ASSERT_OK(
      Update(MakeInterface("eth0", "02:00:00:00:00:01", {{"192.0.2.10", "24"}, {"2001:db8::10", "64"}})));
  InNetwork("ip", {"route", "add", "198.51.100.0/24", "via", "192.0.2.77"});
  grpc::UpdateRoutesRequest request;
  // The default route stands before the one that makes its gateway reachable.
  *request.mutable_routes()->add_routes() = MakeRoute("", "203.0.113.1", 0);
  *request.mutable_routes()->add_routes() = MakeRoute("203.0.113.1/32", "", 253);  // RT_SCOPE_LINK
  types::Route v6 = MakeRoute("", "2001:db8::1", 0);
  v6.set_family(types::v6);
  *request.mutable_routes()->add_routes() = v6;
  ASSERT_OK_AND_ASSIGN(const auto routes, Call<grpc::Routes>("UpdateRoutes", request));
  std::vector<std::string> seen;
  for (const types::Route& route : routes.routes()) {
    seen.push_back(fmt::format("{} via {} on {}", route.dest(), route.gateway(), route.device()));
  }
  EXPECT_THAT(seen, testing::IsSupersetOf({"0.0.0.0 via 203.0.113.1 on eth0", "203.0.113.1/32 via  on eth0",
                                           "::1 via 2001:db8::1 on eth0", "192.0.2.0/24 via  on eth0"}));
  EXPECT_THAT(seen, Not(testing::Contains(HasSubstr("198.51.100.0"))));
  // The same again changes nothing.
  ASSERT_OK_AND_ASSIGN(const auto again, Call<grpc::Routes>("UpdateRoutes", request));
  EXPECT_EQ(again.routes_size(), routes.routes_size());

  // Several to one destination.
  grpc::UpdateRoutesRequest several;
  for (const auto& [gateway, metric] : std::vector<std::pair<std::string, uint32_t>>{
           {"192.0.2.1", 100}, {"192.0.2.2", 200}, {"192.0.2.3", 200}}) {
    types::Route& route = *several.mutable_routes()->add_routes();
    route = MakeRoute("203.0.113.0/24", gateway, 0);
    route.set_metric(metric);
    route.set_protocol(RTPROT_STATIC);
  }
  // Nobody can be reached by this one; the others do not miss it.
  *several.mutable_routes()->add_routes() = MakeRoute("10.0.0.0/8", "198.51.100.1", 0);
  EXPECT_THAT(Call<grpc::Routes>("UpdateRoutes", several),
              IsError(testing::_, HasSubstr("add route to '10.0.0.0/8' by '198.51.100.1'")));
  const std::string shown = InNetwork("ip", {"route", "show", "203.0.113.0/24"});
  EXPECT_THAT(shown, HasSubstr("via 192.0.2.1 dev eth0 proto static metric 100"));
  EXPECT_THAT(shown, HasSubstr("via 192.0.2.2 dev eth0 proto static metric 200"));
  EXPECT_THAT(shown, HasSubstr("via 192.0.2.3 dev eth0 proto static metric 200"));

  grpc::UpdateRoutesRequest bad;
  *bad.mutable_routes()->add_routes() = MakeRoute("10.0.0.0/8", "2001:db8::1", 0);
  EXPECT_THAT(Call<grpc::Routes>("UpdateRoutes", bad), IsErrorCode(Code::kInvalidArgument));
  bad.mutable_routes()->mutable_routes(0)->set_gateway("");
  bad.mutable_routes()->mutable_routes(0)->set_device("nosuch");
  EXPECT_THAT(Call<grpc::Routes>("UpdateRoutes", bad),
              IsError(Code::kNotFound, HasSubstr("no link 'nosuch'")));
}

TEST_F(AgentNetworkTest, AddsNeighbours) {
  AddLink("d0", "02:00:00:00:00:01");
  ASSERT_OK(Update(MakeInterface("eth0", "02:00:00:00:00:01", {{"192.0.2.10", "24"}})));
  grpc::AddARPNeighborsRequest request;
  types::ARPNeighbor& neighbor = *request.mutable_neighbors()->add_arpneighbors();
  neighbor.mutable_toipaddress()->set_address("192.0.2.1/24");
  neighbor.set_device("eth0");
  neighbor.set_lladdr("02:00:00:00:00:99");
  neighbor.set_state(0x80);  // NUD_PERMANENT
  ASSERT_OK(Call("AddARPNeighbors", request));
  EXPECT_THAT(InNetwork("ip", {"neigh", "show"}),
              HasSubstr("192.0.2.1 dev eth0 lladdr 02:00:00:00:00:99 PERMANENT"));
  neighbor.set_device("nosuch");
  EXPECT_THAT(Call("AddARPNeighbors", request), IsErrorCode(Code::kNotFound));
}

TEST_F(AgentNetworkTest, IptablesWhereTheImageHasThem) {
  grpc::SetIPTablesRequest set;
  set.set_data("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.9/32 -j DROP\nCOMMIT\n");
  if (!FindGuestProgram("iptables-save")) {
    EXPECT_THAT(Call<grpc::GetIPTablesResponse>("GetIPTables", grpc::GetIPTablesRequest()),
                IsError(Code::kUnimplemented, HasSubstr("no program 'iptables-save'")));
    EXPECT_THAT(Call<grpc::SetIPTablesResponse>("SetIPTables", set),
                IsError(Code::kUnimplemented, HasSubstr("no program 'iptables-restore'")));
    return;
  }
  ASSERT_OK(Call<grpc::SetIPTablesResponse>("SetIPTables", set));
  ASSERT_OK_AND_ASSIGN(const auto rules,
                       Call<grpc::GetIPTablesResponse>("GetIPTables", grpc::GetIPTablesRequest()));
  EXPECT_THAT(rules.data(), HasSubstr("-A INPUT -s 192.0.2.9/32 -j DROP"));
  set.set_data("nonsense\n");
  EXPECT_THAT(Call<grpc::SetIPTablesResponse>("SetIPTables", set), IsErrorCode(Code::kInternal));
}

}  // namespace
}  // namespace kata::agent
