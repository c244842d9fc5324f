// Tests of option strings of linux/mounts.h.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>

#include "linux/mounts.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;
using testing::ElementsAre;

TEST(MountOptionsTest, SeparatesFlagsFromDataInOrder) {
  ASSERT_OK_AND_ASSIGN(const MountOptions options,
                       ParseMountOptions({"nosuid", "mode=755", "noexec", "size=65536k", "relatime", ""}));
  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOSUID | MS_NOEXEC | MS_RELATIME));
  EXPECT_EQ(options.cleared, 0u);
  EXPECT_EQ(options.data, "mode=755,size=65536k");
}

TEST(MountOptionsTest, TheLastOfTwoOppositesWins) {
  ASSERT_OK_AND_ASSIGN(const MountOptions options, ParseMountOptions({"ro", "nodev", "rw"}));
  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NODEV));
  EXPECT_EQ(options.cleared, static_cast<unsigned long>(MS_RDONLY));
}

TEST(MountOptionsTest, BindPropagationAndCopyUp) {
  ASSERT_OK_AND_ASSIGN(const MountOptions options,
                       ParseMountOptions({"rbind", "rprivate", "shared", "tmpcopyup"}));
  EXPECT_TRUE(options.IsBind());
  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_BIND | MS_REC));
  EXPECT_THAT(options.propagation, ElementsAre(MS_PRIVATE | MS_REC, MS_SHARED));
  EXPECT_TRUE(options.copy_up);
}

TEST(MountOptionsTest, RecursiveAttributes) {
  ASSERT_OK_AND_ASSIGN(MountOptions options, ParseMountOptions({"rro", "rnosuid", "rsuid"}));
  EXPECT_EQ(options.recursive_set, static_cast<uint64_t>(MOUNT_ATTR_RDONLY));
  EXPECT_EQ(options.recursive_clear, static_cast<uint64_t>(MOUNT_ATTR_NOSUID));
  ASSERT_OK_AND_ASSIGN(options, ParseMountOptions({"rnoatime"}));
  EXPECT_EQ(options.recursive_set, static_cast<uint64_t>(MOUNT_ATTR_NOATIME));
  EXPECT_EQ(options.recursive_clear, static_cast<uint64_t>(MOUNT_ATTR__ATIME));
  ASSERT_OK_AND_ASSIGN(options, ParseMountOptions({"rnoatime", "rrelatime"}));
  EXPECT_EQ(options.recursive_set, 0u);
}

TEST(MountOptionsTest, IdMaps) {
  ASSERT_OK_AND_ASSIGN(MountOptions options, ParseMountOptions({"bind", "idmap"}));
  EXPECT_TRUE(options.id_map);
  EXPECT_FALSE(options.id_map_recursive);
  ASSERT_OK_AND_ASSIGN(options, ParseMountOptions({"rbind", "ridmap"}));
  EXPECT_TRUE(options.id_map && options.id_map_recursive);
}

TEST(MountOptionsTest, Propagation) {
  ASSERT_OK_AND_ASSIGN(const unsigned long flags, ParsePropagation("rslave"));
  EXPECT_EQ(flags, static_cast<unsigned long>(MS_SLAVE | MS_REC));
  EXPECT_THAT(ParsePropagation("sideways"), IsErrorCode(Code::kInvalidArgument));
}

TEST(MountOptionsTest, NamesThatAreKnownAreNoData) {
  const std::vector<std::string_view> names = MountOptionNames();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THAT(names, testing::IsSupersetOf({"ro", "rbind", "rslave", "rro", "tmpcopyup", "idmap", "ridmap"}));
  for (const std::string_view name : names) {
    ASSERT_OK_AND_ASSIGN(const MountOptions options, ParseMountOptions({std::string(name)}));
    EXPECT_EQ(options.data, "") << name;
  }
}

}  // namespace
}  // namespace kata::linux
