// The requests byte by byte, and what they do in a network namespace of the test's own.
#include "linux/netlink/traffic_control.h"

#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_mirred.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "linux/namespaces.h"
#include "linux/netlink/events.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using netlink::Attributes;
using netlink::Message;
using test::IsErrorCode;
using testing::HasSubstr;

// The attributes of a request whose fixed header is a tcmsg.
struct Request {
  std::string bytes;
  uint16_t type = 0;
  uint16_t flags = 0;
  tcmsg header{};
  Attributes attributes;
};

Request Parse(const netlink::MessageBuilder& builder) {
  Request request{.bytes = builder.Finish(1)};
  const std::vector<Message> messages = netlink::ParseMessages(request.bytes).value();
  request.type = messages.at(0).type;
  request.flags = messages.at(0).flags;
  request.attributes = netlink::ParsePayload(messages.at(0).payload, request.header).value();
  return request;
}

Attributes Nested(const Attributes& attributes, uint16_t type) {
  return Attributes::Parse(attributes.Get(type).value()).value();
}

// What tc(8) sends for "qdisc add dev 7 handle ffff: ingress".
TEST(TrafficControlRequestTest, IngressQdisc) {
  const Request request = Parse(IngressQdiscRequest(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, 7));
  EXPECT_EQ(request.type, RTM_NEWQDISC);
  EXPECT_EQ(request.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(request.header.tcm_ifindex, 7);
  EXPECT_EQ(request.header.tcm_handle, 0xffff0000u);
  EXPECT_EQ(request.header.tcm_parent, 0xfffffff1u);
  EXPECT_EQ(request.attributes.GetString(TCA_KIND), "ingress");
}

// What tc(8) sends for "filter add dev 7 parent ffff: protocol all prio 1 u32 match u8 0 0 action mirred
// egress redirect dev 9".
TEST(TrafficControlRequestTest, Redirect) {
  const Request request = Parse(RedirectRequest(7, 9));
  EXPECT_EQ(request.type, RTM_NEWTFILTER);
  EXPECT_EQ(request.header.tcm_ifindex, 7);
  EXPECT_EQ(request.header.tcm_parent, 0xffff0000u);
  EXPECT_EQ(request.header.tcm_info, 0x00010300u);  // priority 1, ETH_P_ALL in network order
  EXPECT_EQ(request.attributes.GetString(TCA_KIND), "u32");
  const Attributes options = Nested(request.attributes, TCA_OPTIONS);

  ASSERT_EQ(options.Get(TCA_U32_SEL).value().size(), sizeof(tc_u32_sel) + sizeof(tc_u32_key));
  tc_u32_sel selector{};
  std::memcpy(&selector, options.Get(TCA_U32_SEL)->data(), sizeof selector);
  EXPECT_EQ(selector.flags, TC_U32_TERMINAL);
  EXPECT_EQ(selector.nkeys, 1);
  EXPECT_EQ(options.Get(TCA_U32_SEL)->substr(sizeof selector), std::string(sizeof(tc_u32_key), '\0'));

  const Attributes action = Nested(Nested(options, TCA_U32_ACT), 1);
  EXPECT_EQ(action.GetString(TCA_ACT_KIND), "mirred");
  const Attributes parameters = Nested(action, TCA_ACT_OPTIONS);
  tc_mirred mirred{};
  ASSERT_EQ(parameters.Get(TCA_MIRRED_PARMS).value().size(), sizeof mirred);
  std::memcpy(&mirred, parameters.Get(TCA_MIRRED_PARMS)->data(), sizeof mirred);
  EXPECT_EQ(mirred.action, TC_ACT_STOLEN);
  EXPECT_EQ(mirred.eaction, TCA_EGRESS_REDIR);
  EXPECT_EQ(mirred.ifindex, 9u);
}

class TrafficControlTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  // On a thread in a new network namespace, which goes with the thread.
  static void InNewNetwork(const std::function<void()>& body) {
    std::thread([&] {
      ASSERT_OK(Unshare(CLONE_NEWNET));
      body();
    }).join();
  }
  // The output of a program; the test fails with it.
  static std::string Run(const std::string& program, const std::vector<std::string>& args) {
    Command command;
    command.program = program;
    command.args = args;
    Result<TempDir> directory = TempDir::Create();
    const std::string file = directory.value().path() + "/out";
    const UniqueFd out = Open(file, O_RDWR | O_CREAT, 0600).value();
    command.stdout_fd = out.get();
    command.stderr_fd = STDERR_FILENO;
    Result<ChildProcess> child = Spawn(command);
    EXPECT_OK(child);
    const Result<ExitStatus> status = child.value().Wait(Deadline::After(std::chrono::seconds(60)));
    EXPECT_OK(status);
    EXPECT_EQ(status->ShellCode(), 0) << command.Describe();
    return ReadFile(file).value();
  }
};

TEST_F(TrafficControlTest, JoinsAndSeparatesTwoLinks) {
  InNewNetwork([] {
    Run("ip", {"link", "add", "d0", "up", "type", "veth", "peer", "name", "p0"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    const int a = socket.FindLink("d0").value().index;
    const int b = socket.FindLink("p0").value().index;
    ASSERT_OK(DeleteIngressQdisc(socket, a)) << "none there yet";
    EXPECT_FALSE(RedirectIngress(socket, a, b)) << "without a qdisc";
    ASSERT_OK(AddIngressQdisc(socket, a));
    EXPECT_THAT(AddIngressQdisc(socket, a), IsErrorCode(Code::kAlreadyExists));
    ASSERT_OK(RedirectIngress(socket, a, b));
    const std::string filters = Run("tc", {"filter", "show", "dev", "d0", "ingress"});
    EXPECT_THAT(filters, HasSubstr("protocol all pref 1 u32"));
    EXPECT_THAT(filters, HasSubstr("match 00000000/00000000 at 0"));
    EXPECT_THAT(filters, HasSubstr("mirred (Egress Redirect to device p0) stolen"));
    ASSERT_OK(DeleteIngressQdisc(socket, a));
    EXPECT_EQ(Run("tc", {"filter", "show", "dev", "d0", "ingress"}), "");
    EXPECT_OK(DeleteIngressQdisc(socket, 4711)) << "no such link";
  });
}

TEST_F(TrafficControlTest, MakesAndDeletesMacvtap) {
  InNewNetwork([] {
    Run("ip", {"link", "add", "d0", "address", "02:00:00:00:00:0a", "type", "veth", "peer", "name", "p0"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    const int a = socket.FindLink("d0").value().index;
    ASSERT_OK(socket.CreateMacvtap("m", a));
    ASSERT_OK_AND_ASSIGN(const Link link, socket.FindLink("m"));
    EXPECT_EQ(link.kind, "macvtap");
    EXPECT_EQ(FormatHardwareAddress(link.hardware_address), "02:00:00:00:00:0a");
    EXPECT_FALSE(socket.CreateMacvtap("m2", a)) << "only one takes all";
    ASSERT_OK(socket.DeleteLink(link.index));
    EXPECT_OK(socket.DeleteLink(link.index)) << "gone already";
    EXPECT_THAT(socket.FindLink("m"), IsErrorCode(Code::kNotFound));
  });
}

TEST_F(TrafficControlTest, MakesNoAddressesByItself) {
  InNewNetwork([] {
    Run("ip", {"link", "add", "d0", "type", "veth", "peer", "name", "p0"});
    Run("ip", {"link", "set", "p0", "up"});
    ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
    const int a = socket.FindLink("d0").value().index;
    ASSERT_OK(socket.DisableAddressGeneration(a));
    ASSERT_OK(socket.SetLinkFlags(a, IFF_UP, 0));
    // The kernel makes them when it has noticed the carrier, up to a second later.
    bool peer_has_one = false;
    for (const Deadline deadline = Deadline::After(std::chrono::seconds(30));
         !peer_has_one && !deadline.Passed();) {
      ASSERT_OK_AND_ASSIGN(const std::vector<LinkAddress> addresses, socket.ListAddresses());
      for (const LinkAddress& address : addresses) {
        EXPECT_NE(address.link_index, a) << address.prefix.ToString();
        peer_has_one = peer_has_one || address.prefix.address.family() == AF_INET6;
      }
      usleep(10000);
    }
    EXPECT_TRUE(peer_has_one) << "this kernel makes link-local addresses";
  });
}

TEST_F(TrafficControlTest, EventsTellOfChanges) {
  InNewNetwork([] {
    ASSERT_OK_AND_ASSIGN(const UniqueFd events, OpenNetworkEvents());
    const auto changed = [&](int milliseconds) {
      return WaitFd(events.get(), POLLIN, Deadline::After(std::chrono::milliseconds(milliseconds)), "event")
          .has_value();
    };
    EXPECT_FALSE(changed(0));
    for (const std::vector<std::string>& change :
         std::vector<std::vector<std::string>>{{"link", "add", "d0", "type", "veth", "peer", "name", "p0"},
                                               {"address", "add", "192.0.2.1/24", "dev", "d0"},
                                               {"link", "set", "d0", "up"},
                                               {"route", "add", "198.51.100.0/24", "dev", "d0"},
                                               {"link", "delete", "d0"}}) {
      Run("ip", change);
      EXPECT_TRUE(changed(60000)) << change[0] << " " << change[1];
      DrainEvents(events.get());
    }
    EXPECT_FALSE(changed(0));
  });
}

}  // namespace
}  // namespace kata::linux
