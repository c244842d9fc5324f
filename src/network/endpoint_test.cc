// Against this machine's kernel, in a network namespace of the test's own.
#include "network/endpoint.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "base/file.h"
#include "linux/namespaces.h"
#include "linux/netlink/traffic_control.h"
#include "network/tap.h"
#include "support/ip_command.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::network {
namespace {

using linux::Link;
using linux::RouteSocket;
using test::Ip;
using test::IsError;
using test::IsErrorCode;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kAddress[] = "02:00:00:00:00:0a";
// An Ethernet type for local experiments (IEEE 802): nothing but the test sends it.
constexpr uint16_t kEtherType = 0x88b5;
constexpr size_t kTapHeader = 10;  // virtio_net_hdr, as TUNSETVNETHDRSZ has not been asked for more

// A frame from one station to another whose payload is `text`, padded to the least length.
std::string Frame(const std::string& to, const std::string& from, const std::string& text) {
  std::string frame = linux::ParseHardwareAddress(to).value() + linux::ParseHardwareAddress(from).value();
  frame += static_cast<char>(kEtherType >> 8);
  frame += static_cast<char>(kEtherType & 0xff);
  frame += text;
  frame.resize(60);
  return frame;
}

class EndpointTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  // In a new network namespace with a veth pair: "eth0", and its other end "peer".
  static void WithInterface(const std::function<void(RouteSocket& socket, const Link& eth0)>& body) {
    std::thread([&] {
      ASSERT_OK(linux::Unshare(CLONE_NEWNET));
      Ip({"link", "add", "eth0", "mtu", "1400", "address", kAddress, "up", "type", "veth", "peer", "name",
          "peer"});
      Ip({"link", "set", "peer", "up"});
      ASSERT_OK_AND_ASSIGN(RouteSocket socket, RouteSocket::Open());
      ASSERT_OK_AND_ASSIGN(const Link eth0, socket.FindLink("eth0"));
      body(socket, eth0);
    }).join();
  }
  // Frames of our type at `interface`.
  static UniqueFd OpenPacketSocket(const std::string& interface) {
    UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kEtherType)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(kEtherType);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static void ExpectFramesPass(int tap_fd) {
    const UniqueFd peer = OpenPacketSocket("peer");
    const std::string out = Frame("ff:ff:ff:ff:ff:ff", kAddress, "from the guest");
    const std::string packet = std::string(kTapHeader, '\0') + out;
    ASSERT_EQ(write(tap_fd, packet.data(), packet.size()), static_cast<ssize_t>(packet.size()));
    char buffer[2048];
    ASSERT_OK(WaitFd(peer.get(), POLLIN, Deadline::After(std::chrono::seconds(60)), "frame at the peer"));
    ASSERT_EQ(read(peer.get(), buffer, sizeof buffer), static_cast<ssize_t>(out.size()));
    EXPECT_EQ(std::string(buffer, out.size()), out);

    const std::string in = Frame(kAddress, "02:00:00:00:00:0b", "to the guest");
    ASSERT_EQ(write(peer.get(), in.data(), in.size()), static_cast<ssize_t>(in.size()));
    // Others may come before it: the peer's IPv6 introduces itself.
    for (std::string received; !received.ends_with(in);) {
      ASSERT_OK(WaitFd(tap_fd, POLLIN, Deadline::After(std::chrono::seconds(60)), "frame at the tap"));
      const ssize_t size = read(tap_fd, buffer, sizeof buffer);
      ASSERT_GT(size, 0);
      received.assign(buffer, static_cast<size_t>(size));
    }
  }
  static size_t CountLinks(RouteSocket& socket) { return socket.ListLinks().value().size(); }
};

TEST_F(EndpointTest, TcFilterPassesFramesBothWays) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    const size_t links = CountLinks(socket);
    ASSERT_OK_AND_ASSIGN(auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kTcFilter, .queues = 1}));
    EXPECT_EQ(endpoint->hardware_address(), kAddress);
    ASSERT_EQ(endpoint->tap_fds().size(), 1u);
    ASSERT_OK_AND_ASSIGN(const Link tap, socket.FindLink("tap0_kata"));
    EXPECT_EQ(tap.index, endpoint->tap_index());
    EXPECT_EQ(tap.mtu, 1400u);
    EXPECT_NE(tap.flags & IFF_UP, 0u);
    ifreq request{};
    ASSERT_EQ(ioctl(endpoint->tap_fds()[0], TUNGETIFF, &request), 0);
    EXPECT_NE(request.ifr_flags & IFF_VNET_HDR, 0);
    ExpectFramesPass(endpoint->tap_fds()[0]);
    // Nobody else joins it.
    EXPECT_THAT(
        Endpoint::Join(socket, eth0, "tap1_kata", {.model = Model::kTcFilter, .queues = 1}),
        IsError(Code::kAlreadyExists, AllOf(HasSubstr("join interface 'eth0'"), HasSubstr("ingress qdisc"))));
    EXPECT_THAT(Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kTcFilter, .queues = 1}),
                IsError(Code::kAlreadyExists, HasSubstr("'tap0_kata': it exists")));
    EXPECT_EQ(CountLinks(socket), links + 1) << "the failures left something";

    endpoint.reset();
    EXPECT_EQ(CountLinks(socket), links);
    EXPECT_OK(linux::AddIngressQdisc(socket, eth0.index)) << "ours is gone";
  });
}

// What an engine puts beside a parent interface instead of a pair.
TEST_F(EndpointTest, JoinsAMacvlan) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    Ip({"link", "set", "eth0", "address", "02:00:00:00:00:0c"});
    Ip({"link", "add", "m0", "link", "eth0", "address", kAddress, "up", "type", "macvlan", "mode", "bridge"});
    ASSERT_OK_AND_ASSIGN(const Link m0, socket.FindLink("m0"));
    ASSERT_OK_AND_ASSIGN(const auto endpoint, Endpoint::Join(socket, m0, "tap0_kata", {}));
    ExpectFramesPass(endpoint->tap_fds()[0]);
    // Its parent is not touched.
    EXPECT_OK(linux::AddIngressQdisc(socket, eth0.index));
  });
}

// One whose other end a program holds, as slirp4netns does.
TEST_F(EndpointTest, JoinsATap) {
  WithInterface([](RouteSocket& socket, const Link&) {
    ASSERT_OK_AND_ASSIGN(const std::vector<UniqueFd> program, CreateTap("t0", 1));
    Ip({"link", "set", "t0", "address", kAddress, "up"});
    ASSERT_OK_AND_ASSIGN(const Link t0, socket.FindLink("t0"));
    ASSERT_OK_AND_ASSIGN(const auto endpoint, Endpoint::Join(socket, t0, "tap0_kata", {}));
    const auto expect_passed = [](int from, int to, const std::string& frame) {
      const std::string packet = std::string(kTapHeader, '\0') + frame;
      ASSERT_EQ(write(from, packet.data(), packet.size()), static_cast<ssize_t>(packet.size()));
      char buffer[2048];
      for (std::string received; !received.ends_with(frame);) {
        ASSERT_OK(WaitFd(to, POLLIN, Deadline::After(std::chrono::seconds(60)), "frame"));
        const ssize_t size = read(to, buffer, sizeof buffer);
        ASSERT_GT(size, 0);
        received.assign(buffer, static_cast<size_t>(size));
      }
    };
    const int guest = endpoint->tap_fds()[0];
    expect_passed(guest, program[0].get(), Frame("02:00:00:00:00:0b", kAddress, "from the guest"));
    expect_passed(program[0].get(), guest, Frame(kAddress, "02:00:00:00:00:0b", "to the guest"));
  });
}

TEST_F(EndpointTest, UsesVhostWhereThereIsSome) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    const size_t expected = PathExists("/dev/vhost-net") ? 2 : 0;
    {
      ASSERT_OK_AND_ASSIGN(const auto endpoint, Endpoint::Join(socket, eth0, "tap0_kata", {.queues = 2}));
      EXPECT_EQ(endpoint->vhost_fds().size(), expected);
    }
    ASSERT_OK_AND_ASSIGN(const auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.queues = 2, .vhost = false}));
    EXPECT_EQ(endpoint->vhost_fds().size(), 0u);
  });
}

TEST_F(EndpointTest, HasAQueueForEachProcessor) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    ASSERT_OK_AND_ASSIGN(auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kTcFilter, .queues = 4}));
    EXPECT_EQ(endpoint->tap_fds().size(), 4u);
    ifreq request{};
    ASSERT_EQ(ioctl(endpoint->tap_fds()[3], TUNGETIFF, &request), 0);
    EXPECT_NE(request.ifr_flags & IFF_MULTI_QUEUE, 0);
    EXPECT_STREQ(request.ifr_name, "tap0_kata");
  });
}

// The VMM's descriptors are copies of ours.
TEST_F(EndpointTest, TapEndsWithTheVmm) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    ASSERT_OK_AND_ASSIGN(auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kTcFilter, .queues = 1}));
    UniqueFd vmm(fcntl(endpoint->tap_fds()[0], F_DUPFD_CLOEXEC, 3));
    endpoint->CloseDescriptors();
    EXPECT_OK(socket.FindLink("tap0_kata"));
    vmm.Reset();
    EXPECT_THAT(socket.FindLink("tap0_kata"), IsErrorCode(Code::kNotFound));
    endpoint.reset();
    EXPECT_OK(linux::AddIngressQdisc(socket, eth0.index)) << "ours is gone";
  });
}

TEST_F(EndpointTest, BearsThatTheInterfaceHasGone) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    ASSERT_OK_AND_ASSIGN(auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kTcFilter, .queues = 1}));
    ASSERT_OK(socket.DeleteLink(eth0.index));
    endpoint.reset();
    EXPECT_THAT(socket.FindLink("tap0_kata"), IsErrorCode(Code::kNotFound));
  });
}

TEST_F(EndpointTest, MacvtapPassesFramesBothWays) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    const size_t links = CountLinks(socket);
    {
      ASSERT_OK_AND_ASSIGN(
          auto endpoint, Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kMacvtap, .queues = 2}));
      EXPECT_EQ(endpoint->tap_fds().size(), 2u);
      EXPECT_EQ(socket.FindLink("tap0_kata").value().mtu, 1400u);
    }
    ASSERT_OK_AND_ASSIGN(auto endpoint,
                         Endpoint::Join(socket, eth0, "tap0_kata", {.model = Model::kMacvtap, .queues = 1}));
    ExpectFramesPass(endpoint->tap_fds()[0]);
    EXPECT_FALSE(Endpoint::Join(socket, eth0, "tap1_kata", {.model = Model::kMacvtap, .queues = 1}))
        << "nobody else joins it";
    endpoint.reset();
    EXPECT_EQ(CountLinks(socket), links);
  });
}

TEST_F(EndpointTest, RefusesWhatItCannotJoin) {
  WithInterface([](RouteSocket& socket, const Link& eth0) {
    Ip({"link", "add", "m0", "link", "eth0", "type", "macvlan", "mode", "bridge"});
    Ip({"tuntap", "add", "t0", "mode", "tun"});
    EXPECT_THAT(Endpoint::Join(socket, socket.FindLink("m0").value(), "tap0_kata",
                               {.model = Model::kMacvtap, .queues = 1}),
                IsError(Code::kUnimplemented, AllOf(HasSubstr("'m0'"), HasSubstr("tcfilter"))));
    EXPECT_THAT(Endpoint::Join(socket, socket.FindLink("t0").value(), "tap0_kata",
                               {.model = Model::kTcFilter, .queues = 1}),
                IsError(Code::kUnimplemented, HasSubstr("'t0': only Ethernet")));
    Link gone = eth0;
    gone.index = 4711;
    EXPECT_THAT(Endpoint::Join(socket, gone, "tap0_kata", {.model = Model::kTcFilter, .queues = 1}),
                IsError(testing::_, HasSubstr("join interface 'eth0'")));
    EXPECT_THAT(socket.FindLink("tap0_kata"), IsErrorCode(Code::kNotFound));
  });
}

TEST(ModelTest, Names) {
  EXPECT_EQ(ParseModel("tcfilter").value(), Model::kTcFilter);
  EXPECT_EQ(ParseModel("macvtap").value(), Model::kMacvtap);
  EXPECT_EQ(ParseModel("none").value(), Model::kNone);
  EXPECT_THAT(ParseModel("bridge"), IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::network
