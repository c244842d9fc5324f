// GuestNetwork in a network namespace of the test's own, with a fake machine and agent.
#include "sandbox/guest_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "base/file.h"
#include "network/name_server.h"
#include "sandbox/fake_guest.h"
#include "sandbox/guest.h"
#include "support/ip_command.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsError;
using linux::NamespaceFd;
using test::FakeGuestScript;
using test::FakeMachine;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::chrono::seconds kTimeout{60};
constexpr char kMac[] = "02:00:00:00:00:0a";
constexpr char kOtherMac[] = "02:00:00:00:00:0b";

class GuestNetworkTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    std::thread([this] {
      ASSERT_OK(linux::Unshare(CLONE_NEWNET));
      ASSERT_OK_AND_ASSIGN(namespace_, NamespaceFd::OfProcess(0, CLONE_NEWNET));
    }).join();
    AddInterface("eth0", kMac, "192.0.2.10/24");
    Ip({"route", "add", "default", "via", "192.0.2.1"});
    machine_ = std::make_shared<FakeMachine>(loop_.loop(), MachineOptions(), script_);
    ASSERT_OK(machine_->Start(Deadline::After(kTimeout)));
    ASSERT_OK_AND_ASSIGN(UniqueFd stream, machine_->ConnectAgent(Deadline::After(kTimeout)));
    agent_ = std::make_shared<AgentClient>(loop_.loop(), std::move(stream));
  }
  void TearDown() override {
    if (agent_) agent_->Close();
    if (network_) network_->Close();
    network_.reset();
    if (machine_) (void)machine_->Stop(Deadline::After(kTimeout));
  }

  void Ip(const std::vector<std::string>& args) { kata::test::Ip(args, namespace_.get()); }
  // Without IPv6, whose link-local address would come a little later.
  void AddInterface(const std::string& name, const std::string& mac, const std::string& address) {
    Ip({"link", "add", name, "address", mac, "type", "veth", "peer", "name", "p" + name});
    Ip({"link", "set", name, "addrgenmode", "none"});
    Ip({"link", "set", "p" + name, "addrgenmode", "none"});
    Ip({"address", "add", address, "dev", name});
    Ip({"link", "set", name, "up"});
  }
  void SetIpv6Off(const std::string& name, const std::string& value) {
    std::thread([&] {
      ASSERT_OK(namespace_.Enter());
      ASSERT_OK(WriteKnob("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6", value));
    }).join();
  }
  // The peers are down: only what is up is the guest's.
  void Open(uint32_t queues = 1) {
    ASSERT_OK_AND_ASSIGN(network_,
                         GuestNetwork::Create(loop_.loop(), namespace_,
                                              {.model = network::Model::kTcFilter, .queues = queues}));
  }
  void Follow() {
    ASSERT_OK(network_->Configure(*agent_, Deadline::After(kTimeout)));
    network_->Follow(machine_, agent_);
    EXPECT_OK(Settle());
  }
  Status Settle() {
    std::promise<Status> done;
    network_->Settle([&](Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }
  void AwaitEvent(const testing::Matcher<std::string>& event) {
    const Deadline deadline = Deadline::After(kTimeout);
    while (!testing::Value(script_->events(), Contains(event)) && !deadline.Passed()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_THAT(script_->events(), Contains(event));
  }

  const std::shared_ptr<FakeGuestScript> script_ = std::make_shared<FakeGuestScript>();
  EventLoopThread loop_;
  NamespaceFd namespace_;
  std::shared_ptr<FakeMachine> machine_;
  std::shared_ptr<AgentClient> agent_;
  std::shared_ptr<GuestNetwork> network_;
};

TEST_F(GuestNetworkTest, GivesTheGuestWhatIsThere) {
  Ip({"neighbour", "add", "192.0.2.7", "lladdr", "02:00:00:00:00:77", "dev", "eth0"});
  Open(/*queues=*/2);
  ASSERT_OK_AND_ASSIGN(const NamespaceFd own, NamespaceFd::OfProcess(0, CLONE_NEWNET));
  EXPECT_FALSE(own.IsSameAs(namespace_).value()) << "the caller's thread has been moved";
  const std::vector<hypervisor::NetworkDevice> devices = network_->Devices();
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].mac, kMac);
  EXPECT_EQ(devices[0].tap_fds.size(), 2u);
  ASSERT_OK(network_->Configure(*agent_, Deadline::After(kTimeout)));
  EXPECT_THAT(
      script_->events(),
      ElementsAre("start", StartsWith("ipv6 off: "), "interface eth0 02:00:00:00:00:0a 1500 '' 192.0.2.10/24",
                  "routes >192.0.2.1@eth0", "neighbours 192.0.2.7=02:00:00:00:00:77"));
}

TEST_F(GuestNetworkTest, FollowsInterfacesThatComeAndGo) {
  Open();
  Follow();
  EXPECT_THAT(script_->events(), Not(Contains(StartsWith("attach"))));
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  // Without Settle: events alone lead there.
  AwaitEvent("attach net1 02:00:00:00:00:0b 1");
  AwaitEvent("interface eth1 02:00:00:00:00:0b 1500 '0f/00' 198.51.100.10/24");
  Ip({"link", "delete", "eth1"});
  AwaitEvent("detach net1");
  Ip({"address", "add", "192.0.2.11/24", "dev", "eth0"});
  AwaitEvent("interface eth0 02:00:00:00:00:0a 1500 '' 192.0.2.10/24 192.0.2.11/24");
}

TEST_F(GuestNetworkTest, SettleWaitsForAllThatHasChanged) {
  Open();
  Follow();
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  EXPECT_OK(Settle());
  EXPECT_THAT(script_->events(), Contains("interface eth1 02:00:00:00:00:0b 1500 '0f/00' 198.51.100.10/24"));
}

TEST_F(GuestNetworkTest, AStartDoesNotWaitForEverForAGuestThatDoesNotTakeItsNetwork) {
  WorkerPool workers(2);
  config::Config config;
  config.runtime.internetworking_model = "tcfilter";
  Patience patience;
  patience.settle = std::chrono::milliseconds(100);
  const auto guest = std::make_shared<Guest>(
      loop_.loop(), workers,
      Guest::Options{
          .factory = [this](EventLoop& loop, MachineOptions options) -> Result<std::unique_ptr<Machine>> {
            return std::unique_ptr<Machine>(std::make_unique<FakeMachine>(loop, std::move(options), script_));
          },
          .agent_timeout = kTimeout,
          .patience = patience,
          .on_down = [](const std::string&) {}});
  Guest::BootRequest request;
  request.machine.config = &config;
  request.machine.size = {.vcpus = 1, .memory_mib = 256};
  request.machine.network_namespace =
      std::move(*kata::Open(fmt::format("/proc/self/fd/{}", namespace_.get()), O_RDONLY));
  ASSERT_OK(guest->Boot(std::move(request)));
  script_->Set({.network_hangs = true});
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  std::promise<void> done;
  loop_.loop().Post([&] {
    guest->SettleNetwork([&](const Status& status) {
      EXPECT_OK(status);
      done.set_value();
    });
  });
  EXPECT_EQ(done.get_future().wait_for(kTimeout / 2), std::future_status::ready);
  AwaitEvent(HasSubstr("interface eth1"));
  std::promise<void> stopped;
  loop_.loop().Post([&] { guest->Stop([&] { stopped.set_value(); }); });
  EXPECT_EQ(stopped.get_future().wait_for(kTimeout), std::future_status::ready);
}

TEST_F(GuestNetworkTest, SettleNamesWhatCannotBePluggedIn) {
  script_->Set({.no_hotplug = true});
  Open();
  Follow();
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  EXPECT_THAT(Settle(), IsError(Code::kResourceExhausted, HasSubstr("'eth1': no free pci port")));
  // What waits for it does not keep the others from what is theirs.
  Ip({"route", "add", "203.0.113.0/24", "via", "192.0.2.7"});
  Ip({"route", "add", "203.0.113.128/25", "via", "198.51.100.7"});
  EXPECT_FALSE(Settle());
  EXPECT_THAT(script_->events(), Contains("routes >192.0.2.1@eth0 203.0.113.0/24>192.0.2.7@eth0"));
  // The next one of this name has its chance.
  script_->Set({});
  Ip({"link", "delete", "eth1"});
  EXPECT_OK(Settle());
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  AwaitEvent(HasSubstr("interface eth1"));
}

TEST_F(GuestNetworkTest, WhatCouldNotBePluggedInIsTriedAgain) {
  script_->Set({.no_hotplug = true});
  Open();
  Follow();
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  EXPECT_FALSE(Settle());
  // Without an event: by time.
  script_->Set({});
  AwaitEvent(HasSubstr("interface eth1"));
  EXPECT_OK(Settle());
}

TEST_F(GuestNetworkTest, AFreePortIsTheNextOnes) {
  Open();
  Follow();
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  EXPECT_OK(Settle());
  script_->Set({.no_hotplug = true});
  AddInterface("eth2", "02:00:00:00:00:0c", "203.0.113.10/24");
  EXPECT_THAT(Settle(), IsError(Code::kResourceExhausted, HasSubstr("'eth2'")));
  script_->Set({});
  Ip({"link", "delete", "eth1"});
  AwaitEvent(HasSubstr("interface eth2"));
}

TEST_F(GuestNetworkTest, OneThatFailsInTheGuestDoesNotStopTheOthers) {
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  script_->Set({.bad_interface = "eth0"});
  Ip({"route", "add", "203.0.113.0/24", "via", "198.51.100.7"});
  Open();
  EXPECT_THAT(network_->Configure(*agent_, Deadline::After(kTimeout)),
              IsError(Code::kNotFound, HasSubstr("set up interface 'eth0' in the guest: Link not found")));
  EXPECT_THAT(script_->events(), Contains(HasSubstr("interface eth1")));
  EXPECT_THAT(script_->events(), Contains("routes 203.0.113.0/24>198.51.100.7@eth1"));
  // By and by it is there.
  network_->Follow(machine_, agent_);
  EXPECT_THAT(Settle(), IsError(Code::kNotFound, HasSubstr("'eth0'")));
  script_->Set({});
  AwaitEvent(StartsWith("interface eth0"));
  EXPECT_OK(Settle());
  EXPECT_THAT(script_->events(), Contains(AllOf(StartsWith("routes"), HasSubstr(">192.0.2.1@eth0"))));
}

TEST_F(GuestNetworkTest, TellsWhetherThereIsIpv6) {
  SetIpv6Off("all", "1");
  Open();
  ASSERT_OK(network_->Configure(*agent_, Deadline::After(kTimeout)));
  EXPECT_THAT(script_->events(), Contains("ipv6 off: all 1 default 1 lo 1"));
  network_->Follow(machine_, agent_);
  // As Docker does for a network with IPv6 that comes later; the address leads to a look at it.
  SetIpv6Off("lo", "0");
  Ip({"address", "add", "192.0.2.11/24", "dev", "eth0"});
  AwaitEvent("ipv6 off: lo 0");
}

TEST_F(GuestNetworkTest, NamesAreTriedAgain) {
  script_->Set({.no_names = true});
  UniqueFd server;
  std::thread([&] {
    ASSERT_OK(namespace_.Enter());
    kata::test::Ip({"link", "set", "lo", "up"});
    server = UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ASSERT_EQ(inet_pton(AF_INET, network::kNameServerAddress, &address.sin_addr), 1);
    ASSERT_EQ(bind(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }).join();
  Open();
  Follow();
  AwaitEvent("no names");
  script_->Set({});
  AwaitEvent("names");
}

TEST_F(GuestNetworkTest, LeavesNothing) {
  Open();
  Follow();
  network_->Close();
  network_->Close();
  std::thread([this] {
    ASSERT_OK(namespace_.Enter());
    ASSERT_OK_AND_ASSIGN(linux::RouteSocket socket, linux::RouteSocket::Open());
    EXPECT_FALSE(socket.FindLink("tap0_kata"));
  }).join();
  // As does a creation that fails halfway.
  AddInterface("eth1", kOtherMac, "198.51.100.10/24");
  Ip({"tuntap", "add", "tap1_kata", "mode", "tap"});
  EXPECT_THAT(GuestNetwork::Create(loop_.loop(), namespace_, {}),
              IsError(Code::kAlreadyExists, HasSubstr("join interface 'eth1'")));
  Ip({"link", "delete", "tap1_kata"});
  Open();
}

TEST_F(GuestNetworkTest, RefusesTheHostsNamespace) {
  ASSERT_OK_AND_ASSIGN(const NamespaceFd own, NamespaceFd::OfProcess(0, CLONE_NEWNET));
  EXPECT_THAT(GuestNetwork::Create(loop_.loop(), own, {}),
              IsError(Code::kInvalidArgument, HasSubstr("network namespace of the host")));
}

}  // namespace
}  // namespace kata::sandbox
