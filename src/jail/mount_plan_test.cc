// Tests of jail/mount_plan.h.
#include "jail/mount_plan.h"

#include <sys/mount.h>

#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using testing::ElementsAre;
using testing::Pair;

oci::Spec With(oci::Mount mount) {
  oci::Spec spec;
  spec.mounts.push_back(std::move(mount));
  return spec;
}

TEST(MountPlanTest, TmpfsIsReadOnlyLateAndKeepsItsData) {
  ASSERT_OK_AND_ASSIGN(
      const auto steps,
      PlanMounts(With({"/run/", "tmpfs", "tmpfs", {"ro", "nosuid", "size=1m", "noswap", "sync"}, {}, {}})));
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].kind, MountStep::Kind::kFileSystem);
  EXPECT_EQ(steps[0].destination, "/run");
  EXPECT_TRUE(steps[0].read_only_late);
  EXPECT_EQ(steps[0].set, static_cast<uint64_t>(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
  EXPECT_THAT(steps[0].parameters, ElementsAre(Pair("size", "1m"), Pair("noswap", ""), Pair("sync", "")));
}

TEST(MountPlanTest, KindsFollowTypeAndOptions) {
  const std::pair<oci::Mount, MountStep::Kind> cases[] = {
      {{"/a", "bind", "/s", {}, {}, {}}, MountStep::Kind::kBind},
      {{"/a", "none", "/s", {"rbind"}, {}, {}}, MountStep::Kind::kBind},
      {{"/a", "", "/s", {"bind"}, {}, {}}, MountStep::Kind::kBind},
      {{"/a", "cgroup", "cgroup", {}, {}, {}}, MountStep::Kind::kCgroup},
      {{"/a", "cgroup2", "cgroup", {}, {}, {}}, MountStep::Kind::kCgroup},
      {{"/a", "", "", {"remount", "ro"}, {}, {}}, MountStep::Kind::kRemount},
      {{"/proc", "proc", "proc", {}, {}, {}}, MountStep::Kind::kFileSystem},
  };
  for (const auto& [mount, kind] : cases) {
    ASSERT_OK_AND_ASSIGN(const auto steps, PlanMounts(With(mount)));
    EXPECT_EQ(steps[0].kind, kind);
  }
}

TEST(MountPlanTest, ClearedFlagsAreRemembered) {
  ASSERT_OK_AND_ASSIGN(const auto steps,
                       PlanMounts(With({"/a", "bind", "/s", {"rbind", "rw", "suid"}, {}, {}})));
  EXPECT_EQ(steps[0].set, 0u);
  EXPECT_EQ(steps[0].clear, static_cast<uint64_t>(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
}

TEST(MountPlanTest, RelativeDestinationsAreBelowTheRoot) {
  ASSERT_OK_AND_ASSIGN(const auto steps, PlanMounts(With({"rel/../x", "tmpfs", "", {}, {}, {}})));
  EXPECT_EQ(steps[0].destination, "/x");
}

TEST(MountPlanTest, DevicesAreMadeUnlessDevIsBound) {
  EXPECT_TRUE(NeedsDevices(With({"/dev", "tmpfs", "tmpfs", {}, {}, {}})));
  EXPECT_FALSE(NeedsDevices(With({"/dev/", "bind", "/dev", {}, {}, {}})));
  EXPECT_FALSE(NeedsDevices(With({"/dev", "none", "/dev", {"rbind"}, {}, {}})));
}

}  // namespace
}  // namespace kata::jail
