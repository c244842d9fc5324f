#include "cgroup/hierarchies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/result_matchers.h"

namespace kata::cgroup {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Describe(const Hierarchies& hierarchies) {
  std::vector<std::string> lines;
  for (const auto& [name, hierarchy] : hierarchies.by_name) {
    lines.push_back(fmt::format("{} {} {}", name, hierarchy.mount_point, hierarchy.own_path));
  }
  return lines;
}

TEST(Hierarchies, Version1WithEverythingBesideIt) {
  constexpr char kMounts[] =
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
  constexpr char kSelf[] = "4:cpu,cpuacct:/a\n3:memory:/\n2:pids:/not/mounted\n1:name=systemd:/b:c\n0::/d\n";
  ASSERT_OK_AND_ASSIGN(const Hierarchies hierarchies, ParseHierarchies(kMounts, kSelf));
  EXPECT_FALSE(hierarchies.unified);
  EXPECT_THAT(Describe(hierarchies),
              ElementsAre("cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct /a", "memory /sys/fs/cgroup/memory /",
                          "name=systemd /sys/fs/cgroup/systemd /b:c"));
}

TEST(Hierarchies, Version2Alone) {
  ASSERT_OK_AND_ASSIGN(const Hierarchies hierarchies,
                       ParseHierarchies("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/a/b\n"));
  EXPECT_TRUE(hierarchies.unified);
  EXPECT_THAT(Describe(hierarchies), ElementsAre(" /sys/fs/cgroup /a/b"));
}

TEST(Hierarchies, InAContainerThatSeesItsOwnPartOnly) {
  ASSERT_OK_AND_ASSIGN(
      const Hierarchies hierarchies,
      ParseHierarchies("1 2 0:3 /docker/c1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                       "3:memory:/docker/c1/x\n"));
  EXPECT_THAT(Describe(hierarchies), ElementsAre("memory /sys/fs/cgroup/memory /x"));
}

TEST(Hierarchies, NoneIsNoError) {
  ASSERT_OK_AND_ASSIGN(const Hierarchies hierarchies, ParseHierarchies("", "0::/\n"));
  EXPECT_THAT(hierarchies.by_name, IsEmpty());
}

}  // namespace
}  // namespace kata::cgroup
