#include "sandbox/pod_namespaces.h"

#include <unistd.h>

#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using test::IsError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Result<GuestNamespaces> Plan(const std::string& type, const std::string& path) {
  oci::Spec spec;
  spec.linux.emplace().namespaces = {{"mount", ""}, {"network", "/run/netns/x"}, {type, path}};
  return PlanGuestNamespaces(spec, "first", {{101, "first"}, {102, "second"}});
}
GuestNamespaces Planned(const std::string& type, const std::string& path) {
  Result<GuestNamespaces> plan = Plan(type, path);
  EXPECT_OK(plan);
  return plan.value_or(GuestNamespaces());
}

TEST(PodNamespacesTest, WithoutAPathTheyAreTheContainersOwn) {
  EXPECT_THAT(Planned("ipc", ""), ElementsAre(Pair("ipc", "")));
  EXPECT_THAT(Planned("uts", ""), ElementsAre(Pair("uts", "")));
  for (const char* type : {"pid", "cgroup", "time"}) EXPECT_THAT(Planned(type, ""), IsEmpty()) << type;
}

TEST(PodNamespacesTest, APathNamesAContainerOfThePod) {
  for (const char* type : {"ipc", "uts", "pid"}) {
    EXPECT_THAT(Planned(type, fmt::format("/proc/101/ns/{}", type)), IsEmpty()) << type;  // the sandbox's
  }
  for (const char* type : {"cgroup", "time"}) {
    EXPECT_THAT(Planned(type, fmt::format("/proc/101/ns/{}", type)), ElementsAre(Pair(type, "first")));
  }
  for (const char* type : {"ipc", "uts", "pid", "cgroup", "time"}) {
    EXPECT_THAT(Planned(type, fmt::format("/proc/102/ns/{}", type)), ElementsAre(Pair(type, "second")));
  }
}

TEST(PodNamespacesTest, WhatIsNotInTheMachineIsRefusedByName) {
  const auto own = [](const std::string& type) { return fmt::format("/proc/{}/ns/{}", getpid(), type); };
  // As if it were not listed.
  for (const char* type : {"uts", "cgroup", "time"}) EXPECT_THAT(Planned(type, own(type)), IsEmpty()) << type;
  for (const char* type : {"ipc", "pid"}) {
    EXPECT_THAT(Plan(type, own(type)), IsError(Code::kInvalidArgument, HasSubstr(own(type))));
    // Made by the engine for the pod.
    EXPECT_THAT(Planned(type, "/run/ns/x"), IsEmpty()) << type;
  }
  EXPECT_THAT(Plan("time", "/nosuch/ns"), IsError(Code::kNotFound, HasSubstr("/nosuch/ns")));
}

TEST(PodNamespacesTest, ProcessesAreFoundInPaths) {
  EXPECT_EQ(ProcessOfNamespace("/proc/42/ns/ipc"), 42);
  EXPECT_EQ(ProcessOfNamespace("/proc/self/ns/ipc"), 0);
  EXPECT_EQ(ProcessOfNamespace("/run/netns/x"), 0);
  EXPECT_FALSE(IsKataShim(getpid()));
}

}  // namespace
}  // namespace kata::sandbox
