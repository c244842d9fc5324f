#include "cgroup/systemd_path.h"

#include <gtest/gtest.h>

namespace kata::cgroup {
namespace {

TEST(SystemdPath, Expands) {
  EXPECT_EQ(ExpandSystemdPath("system.slice:docker:c1"), "/system.slice/docker-c1.scope");
  EXPECT_EQ(ExpandSystemdPath(":docker:c1"), "/system.slice/docker-c1.scope");
  EXPECT_EQ(ExpandSystemdPath("a-b-c.slice::c1"), "/a.slice/a-b.slice/a-b-c.slice/c1.scope");
  EXPECT_EQ(ExpandSystemdPath("-.slice:x:c1"), "/x-c1.scope");
  EXPECT_EQ(ExpandSystemdPath("machine.slice::pod.slice"), "/machine.slice/pod.slice");
}

TEST(SystemdPath, OtherFormsAreLeftAlone) {
  for (const char* path :
       {"", "/docker/c1", "c1", "a:b", "a:b:c", "/a.slice:b:c", "a.slice:b:", "a.slice:b:c:d"}) {
    EXPECT_EQ(ExpandSystemdPath(path), std::nullopt) << path;
  }
}

}  // namespace
}  // namespace kata::cgroup
