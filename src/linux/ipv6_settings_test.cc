#include "linux/ipv6_settings.h"

#include <sched.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "base/file.h"
#include "linux/namespaces.h"
#include "support/ip_command.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using kata::test::Ip;

class Ipv6SettingsTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!PathExists("/proc/sys/net/ipv6")) GTEST_SKIP() << "needs IPv6";
  }
  // On a thread in a new network namespace, which goes with the thread.
  static void InNewNetwork(const std::function<void()>& body) {
    std::thread([&] {
      ASSERT_OK(Unshare(CLONE_NEWNET));
      body();
    }).join();
  }
  static Ipv6Settings Read(const std::string& name) {
    const Result<Ipv6Settings> settings = ReadIpv6Settings(name);
    EXPECT_OK(settings);
    return settings.value_or(Ipv6Settings());
  }
};

TEST_F(Ipv6SettingsTest, WritesWhatItReads) {
  InNewNetwork([] {
    Ip({"link", "add", "d0", "type", "veth", "peer", "name", "p0"});
    const Ipv6Settings off{.accept_ra = 0, .autoconf = 0, .addr_gen_mode = 1, .disable_ipv6 = 1};
    EXPECT_NE(Read("d0"), off);
    ASSERT_OK(ApplyIpv6Settings("d0", off));
    EXPECT_EQ(Read("d0"), off);
    EXPECT_EQ(Read("p0").disable_ipv6, 0u) << "another link";
    const Ipv6Settings on{.accept_ra = 2};
    ASSERT_OK(ApplyIpv6Settings("d0", on));
    EXPECT_EQ(Read("d0"), on);
  });
}

TEST_F(Ipv6SettingsTest, WhatIsSoAlreadyIsNotWritten) {
  InNewNetwork([] {
    Ip({"link", "add", "d0", "type", "veth", "peer", "name", "p0"});
    Ipv6Settings all = Read("all");
    all.disable_ipv6 = 1;
    ASSERT_OK(ApplyIpv6Settings("all", all));
    EXPECT_EQ(Read("d0").disable_ipv6, 1u);
    EXPECT_EQ(Read("default").disable_ipv6, 1u);
    Ipv6Settings one = Read("d0");
    one.disable_ipv6 = 0;
    ASSERT_OK(ApplyIpv6Settings("d0", one));
    ASSERT_OK(ApplyIpv6Settings("all", all));
    EXPECT_EQ(Read("d0").disable_ipv6, 0u);
  });
}

TEST_F(Ipv6SettingsTest, WhatHasNoneHasIpv6Disabled) {
  InNewNetwork([] {
    EXPECT_EQ(Read("nosuch").disable_ipv6, 1u);
    EXPECT_OK(ApplyIpv6Settings("nosuch", {}));
    Ip({"link", "add", "d0", "mtu", "1000", "type", "veth", "peer", "name", "p0"});
    EXPECT_EQ(Read("d0").disable_ipv6, 1u) << "too small a packet for IPv6";
    EXPECT_OK(ApplyIpv6Settings("d0", {}));
  });
}

}  // namespace
}  // namespace kata::linux
