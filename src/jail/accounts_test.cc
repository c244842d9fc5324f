#include "jail/accounts.h"

#include <gtest/gtest.h>

#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsError;
using testing::ElementsAre;

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/sh\nbad "
    "line\nu:x:10:20::/home/u:/bin/sh\nn:x:11:1:::\nodd:x:-1:3::/:\n12:x:77:78::/:\n";
constexpr char kGroup[] = "root:x:0:\nusers:x:20:u,n\nwheel:x:30:\nbroken:x\n";

TEST(AccountsTest, NamesAndNumbersOfUsers) {
  const auto resolve = [](const std::string& user, const std::string& group) {
    return ApplyNames({.user = user, .group = group, .additional_groups = {}}, oci::User{.uid = 1, .gid = 2},
                      kPasswd, kGroup);
  };
  ASSERT_OK_AND_ASSIGN(oci::User user, resolve("u", ""));
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(10u, 20u));
  ASSERT_OK_AND_ASSIGN(user, resolve("u", "wheel"));
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(10u, 30u));
  ASSERT_OK_AND_ASSIGN(user, resolve("11", ""));
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(11u, 1u));
  ASSERT_OK_AND_ASSIGN(user, resolve("12", "12"));  // a name before a number
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(77u, 12u));
  ASSERT_OK_AND_ASSIGN(user, resolve("5000", ""));
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(5000u, 2u));
  ASSERT_OK_AND_ASSIGN(user, resolve("", "users"));
  EXPECT_EQ(std::pair(user.uid, user.gid), std::pair(1u, 20u));
  for (const char* unknown : {"nobody", "odd", "4294967295", "-1", "1x"}) {
    EXPECT_THAT(
        resolve(unknown, ""),
        IsError(Code::kNotFound, fmt::format("user '{}' is not in /etc/passwd of the container", unknown)));
  }
  EXPECT_THAT(resolve("u", "broken"),
              IsError(Code::kNotFound, "group 'broken' is not in /etc/group of the container"));
}

TEST(AccountsTest, AdditionalGroupsAreAdded) {
  ASSERT_OK_AND_ASSIGN(const oci::User user,
                       ApplyNames({.user = {}, .group = {}, .additional_groups = {"wheel", "99"}},
                                  oci::User{.additional_gids = {7}}, kPasswd, kGroup));
  EXPECT_THAT(user.additional_gids, ElementsAre(7u, 30u, 99u));
}

TEST(AccountsTest, HomeDirectories) {
  EXPECT_EQ(HomeDirectory(kPasswd, 0), "/root");
  EXPECT_EQ(HomeDirectory(kPasswd, 10), "/home/u");
  EXPECT_EQ(HomeDirectory(kPasswd, 11), "");
  EXPECT_EQ(HomeDirectory(kPasswd, 1), "");
}

}  // namespace
}  // namespace kata::jail
