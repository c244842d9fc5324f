// Tests of linux/mountinfo.h.
#include "linux/mountinfo.h"

#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsErrorCode;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(MountInfoTest, ParsesAllFields) {
  ASSERT_OK_AND_ASSIGN(
      const MountInfo info,
      ParseMountInfoLine("36 35 98:1 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:7 - ext3 "
                         "/dev/root rw,errors=continue\n"));
  EXPECT_EQ(info.id, 36);
  EXPECT_EQ(info.parent_id, 35);
  EXPECT_EQ(info.major, 98u);
  EXPECT_EQ(info.minor, 1u);
  EXPECT_EQ(info.root, "/mnt1");
  EXPECT_EQ(info.mount_point, "/mnt 2\\x");
  EXPECT_THAT(info.optional_fields, ElementsAre("master:1", "shared:7"));
  EXPECT_EQ(info.fs_type, "ext3");
  EXPECT_EQ(info.source, "/dev/root");
  EXPECT_TRUE(info.HasOption("noatime"));
  EXPECT_FALSE(info.HasOption("noa"));
  EXPECT_TRUE(info.HasSuperOption("errors=continue"));
}

TEST(MountInfoTest, OptionalFieldsAndSourceMayBeEmpty) {
  ASSERT_OK_AND_ASSIGN(const MountInfo info, ParseMountInfoLine("1 0 0:5 / / rw - tmpfs  rw"));
  EXPECT_THAT(info.optional_fields, IsEmpty());
  EXPECT_EQ(info.source, "");
  EXPECT_EQ(info.super_options, "rw");
}

TEST(MountInfoTest, MalformedLinesAreErrors) {
  for (const char* line : {"", "x 0 0:5 / / rw - tmpfs t rw", "1 0 05 / / rw - tmpfs t rw",
                           "1 0 0:5 / / rw shared:1", "1 0 0:5 / /", "1 0 0:5 / / rw - "}) {
    EXPECT_THAT(ParseMountInfoLine(line), IsErrorCode(Code::kInvalidArgument)) << line;
  }
  const std::string tail = " rw - t t rw";
  EXPECT_THAT(ParseMountInfoLine("1 0 0:5 / /" + std::string(kMaxMountInfoLine, 'a') + tail),
              IsErrorCode(Code::kInvalidArgument));
}

TEST(MountInfoTest, FindsTheTopmostMount) {
  ASSERT_OK_AND_ASSIGN(const std::vector<MountInfo> mounts,
                       ParseMountInfo("1 0 0:5 / /a rw - t first rw\n2 0 0:6 / /a rw - t second rw\n"));
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(FindMount(mounts, "/a")->source, "second");
  EXPECT_EQ(FindMount(mounts, "/b"), nullptr);
}

TEST(MountInfoTest, ReadsTheOwnMounts) {
  ASSERT_OK_AND_ASSIGN(const std::vector<MountInfo> mounts, ReadMountInfo());
  EXPECT_NE(FindMount(mounts, "/proc"), nullptr);
}

}  // namespace
}  // namespace kata::linux
