#include "sandbox/pod.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

TEST(PodTest, KnowsItsMembersByTheirAnnotations) {
  EXPECT_EQ(PodSandboxOf({}), "");
  EXPECT_EQ(PodSandboxOf({{"io.kubernetes.cri-o.ContainerType", "container"},
                          {"io.kubernetes.cri-o.SandboxID", "pause"}}),
            "pause");
  EXPECT_EQ(PodSandboxOf({{"io.kubernetes.cri.container-type", "container"},
                          {"io.kubernetes.cri.sandbox-id", "pause"}}),
            "pause");
  // The pause container itself.
  EXPECT_EQ(PodSandboxOf({{"io.kubernetes.cri-o.ContainerType", "sandbox"},
                          {"io.kubernetes.cri-o.SandboxID", "pause"}}),
            "");
  EXPECT_EQ(PodSandboxOf({{"io.kubernetes.cri-o.ContainerType", "container"}}), "");
}

}  // namespace
}  // namespace kata::sandbox
