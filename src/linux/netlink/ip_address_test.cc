#include "linux/netlink/ip_address.h"

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;

TEST(IpAddressTest, ReadsAndWritesBothFamilies) {
  for (const char* text : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "fe80::ff:fe00:1"}) {
    ASSERT_OK_AND_ASSIGN(const IpAddress address, IpAddress::Parse(text));
    EXPECT_EQ(address.ToString(), text);
    ASSERT_OK_AND_ASSIGN(const IpAddress same, IpAddress::FromBytes(address.bytes()));
    EXPECT_EQ(same, address);
  }
  EXPECT_TRUE(IpAddress::Parse("::").value().IsUnspecified());
  EXPECT_TRUE(IpAddress::Parse("127.8.0.1").value().IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("::1").value().IsLoopback());
  EXPECT_FALSE(IpAddress::Parse("2001:db8::1").value().IsLoopback());
}

TEST(IpAddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.0.0.1", "::g", "1.2.3.4 ", "fe80::1%lo", "host"}) {
    EXPECT_THAT(IpAddress::Parse(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
  EXPECT_THAT(IpAddress::Parse(std::string("1.2.3.4\0x", 9)), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(IpAddress::FromBytes("12345"), IsErrorCode(Code::kInvalidArgument));
}

TEST(IpAddressTest, Prefixes) {
  EXPECT_EQ(IpPrefix::Parse("10.0.0.0/8").value().ToString(), "10.0.0.0/8");
  EXPECT_EQ(IpPrefix::Parse("10.0.0.1").value().ToString(), "10.0.0.1/32");
  EXPECT_EQ(IpPrefix::Parse("2001:db8::/128").value().length, 128);
  for (const char* text : {"10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "/8"}) {
    EXPECT_THAT(IpPrefix::Parse(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

TEST(IpAddressTest, HardwareAddresses) {
  ASSERT_OK_AND_ASSIGN(const std::string bytes, ParseHardwareAddress("02:00:5E:10:00:ff"));
  EXPECT_EQ(bytes.size(), 6u);
  EXPECT_EQ(FormatHardwareAddress(bytes), "02:00:5e:10:00:ff");
  EXPECT_EQ(FormatHardwareAddress(""), "");
  for (const char* text : {"", "0", "02:", "02:0", "2:00", "02-00", "02:00:", "0g:00"}) {
    EXPECT_THAT(ParseHardwareAddress(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
  std::string longest = "00";
  for (int i = 1; i < 32; ++i) longest += ":00";
  EXPECT_OK(ParseHardwareAddress(longest));
  EXPECT_THAT(ParseHardwareAddress(longest + ":00"), IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::linux
