#include "cgroup/systemd_property.h"

#include "support/result_matchers.h"

namespace kata::cgroup {
namespace {

using test::IsError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Words = std::vector<std::string>;

std::string Key(const std::string& name) {
  return "org.systemd.property." + name;
}

Words Value(const std::string& text) {
  const auto properties = ReadSystemdProperties({{Key("CollectMode"), text}});
  EXPECT_OK(properties);
  return properties && properties->size() == 1 ? properties->front().value : Words();
}

TEST(SystemdPropertyTest, ValuesAreInGVariantsForm) {
  EXPECT_EQ(Value("true"), (Words{"b", "true"}));
  EXPECT_EQ(Value("5"), (Words{"i", "5"}));
  EXPECT_EQ(Value(" uint64  18446744073709551615 "), (Words{"t", "18446744073709551615"}));
  EXPECT_EQ(Value("int16 -32768"), (Words{"n", "-32768"}));
  EXPECT_EQ(Value("@t 7"), (Words{"t", "7"}));
  EXPECT_EQ(Value("1.5"), (Words{"d", "1.5"}));
  EXPECT_EQ(Value(R"('inactive-or-failed')"), (Words{"s", "inactive-or-failed"}));
  EXPECT_EQ(Value(R"("a \"b\" 'c'")"), (Words{"s", "a \"b\" 'c'"}));
  EXPECT_EQ(Value("['a.service', 'b, c']"), (Words{"as", "2", "a.service", "b, c"}));
  EXPECT_EQ(Value("[uint32 1,2]"), (Words{"au", "2", "1", "2"}));
  EXPECT_EQ(Value("@as []"), (Words{"as", "0"}));
}

TEST(SystemdPropertyTest, SecondsBecomeMicroseconds) {
  const auto properties = ReadSystemdProperties(
      {{Key("TimeoutStopSec"), "uint64 5"}, {Key("TimeoutStartUSec"), "uint64 9"}, {"other", "x"}});
  ASSERT_OK(properties);
  EXPECT_THAT(*properties, ElementsAre(SystemdProperty{"TimeoutStartUSec", {"t", "9"}},
                                       SystemdProperty{"TimeoutStopUSec", {"t", "5000000"}}));
  EXPECT_THAT(ReadSystemdProperties({{Key("TimeoutStopSec"), "'5'"}}),
              IsError(Code::kInvalidArgument, HasSubstr("TimeoutStopSec")));
}

TEST(SystemdPropertyTest, WhatIsNoneIsNamed) {
  for (const char* text : {"", "x", "'open", "256 7", "byte 256", "uint64 -1", "int32 'a'", "[1,'a']", "[1",
                           "[]", "@", "@as", "true false", "1e", "{}", "<1>", "0x1"}) {
    EXPECT_THAT(ReadSystemdProperties({{Key("KillSignal"), text}}),
                IsError(Code::kInvalidArgument, HasSubstr("org.systemd.property.KillSignal")))
        << text;
  }
  for (const char* name : {"", "A", "Kill Signal", "A1b"}) {
    EXPECT_THAT(ReadSystemdProperties({{Key(name), "1"}}), test::IsErrorCode(Code::kInvalidArgument)) << name;
  }
  EXPECT_THAT(*ReadSystemdProperties({{"a", "b"}}), IsEmpty());
}

}  // namespace
}  // namespace kata::cgroup
