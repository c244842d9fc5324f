#include "storage/bind_attributes.h"

#include "support/result_matchers.h"

namespace kata::storage {
namespace {

using test::IsError;
using testing::_;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr unsigned long kStrict = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME;

Result<BindAttributes> Plan(const std::vector<std::string>& options, unsigned long source,
                            bool user_namespace = false) {
  return PlanBindAttributes(TRY(linux::ParseMountOptions(options)), source, user_namespace);
}

TEST(BindAttributesTest, WithoutAnyThoseOfTheSourceAreKept) {
  ASSERT_OK_AND_ASSIGN(const auto all, Plan({"rbind", "rprivate"}, kStrict | linux::kNoSymFollow));
  EXPECT_THAT(all.inherited, ElementsAre("ro", "nosuid", "nodev", "noexec", "nosymfollow", "noatime"));
  EXPECT_EQ(all.set, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(all.clear, 0u);
  ASSERT_OK_AND_ASSIGN(const auto usual, Plan({"rbind"}, MS_RELATIME));
  EXPECT_THAT(usual.inherited, IsEmpty());
  EXPECT_EQ(usual.clear, uint64_t{MOUNT_ATTR_RDONLY});
  ASSERT_OK_AND_ASSIGN(const auto strict, Plan({"bind"}, MS_NODIRATIME));
  EXPECT_THAT(strict.inherited, ElementsAre("strictatime", "nodiratime"));
}

TEST(BindAttributesTest, WithSomeTheyAreAllButAccessTimes) {
  ASSERT_OK_AND_ASSIGN(const auto writable, Plan({"bind", "nosuid"}, kStrict));
  EXPECT_THAT(writable.inherited, ElementsAre("noatime"));
  EXPECT_EQ(writable.set, 0u);
  EXPECT_EQ(writable.clear, uint64_t{MOUNT_ATTR_RDONLY});
  ASSERT_OK_AND_ASSIGN(const auto read_only, Plan({"bind", "ro"}, MS_RELATIME | MS_NOEXEC));
  EXPECT_THAT(read_only.inherited, IsEmpty());
  EXPECT_EQ(read_only.set, uint64_t{MOUNT_ATTR_RDONLY});
  ASSERT_OK_AND_ASSIGN(const auto recursive, Plan({"bind", "rro"}, MS_RELATIME | MS_NOEXEC));
  EXPECT_THAT(recursive.inherited, ElementsAre("noexec"));
  EXPECT_EQ(recursive.set, uint64_t{MOUNT_ATTR_RDONLY});
}

TEST(BindAttributesTest, AccessTimesThatAreAskedForHoldOnTheHost) {
  ASSERT_OK_AND_ASSIGN(const auto asked, Plan({"bind", "nodiratime"}, MS_NOATIME));
  EXPECT_THAT(asked.inherited, IsEmpty());
  EXPECT_EQ(asked.set, uint64_t{MOUNT_ATTR_NODIRATIME});
  EXPECT_EQ(asked.clear, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME});
  // As with mount(8), "atime" asks for none.
  ASSERT_OK_AND_ASSIGN(const auto cleared, Plan({"bind", "atime"}, MS_NOATIME));
  EXPECT_THAT(cleared.inherited, ElementsAre("noatime"));
}

TEST(BindAttributesTest, AUserNamespaceLocksThem) {
  ASSERT_OK_AND_ASSIGN(const auto kept, Plan({"bind", "ro", "symfollow"}, MS_NODEV | MS_RELATIME, true));
  EXPECT_THAT(kept.inherited, ElementsAre("nodev"));
  EXPECT_THAT(
      Plan({"bind", "rw"}, MS_RDONLY | MS_RELATIME, true),
      IsError(_, HasSubstr("'rw' of a source that is mounted 'ro', from a user namespace: Operation not")));
  EXPECT_OK(Plan({"bind", "nodiratime"}, MS_NODIRATIME | MS_RELATIME, true));
  EXPECT_THAT(Plan({"bind", "strictatime"}, MS_NODIRATIME | MS_RELATIME, true),
              IsError(_, HasSubstr("other access times")));
}

}  // namespace
}  // namespace kata::storage
