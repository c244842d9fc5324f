// Tests of jail/namespaces.h.
#include "jail/namespaces.h"

#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsErrorCode;

oci::Spec With(std::vector<oci::Namespace> namespaces) {
  oci::Spec spec;
  spec.linux = oci::Linux();
  spec.linux->namespaces = std::move(namespaces);
  return spec;
}

TEST(NamespacePlanTest, NewOnesJoinedOnesAndTheSandboxs) {
  const oci::Spec spec = With({{"pid", ""}, {"network", "/run/netns/x"}, {"ipc", ""}, {"uts", ""}});
  ASSERT_OK_AND_ASSIGN(const NamespacePlan plan,
                       PlanNamespaces(spec, {.ipc_fd = 7, .uts_fd = -1, .pid_fd = -1}));
  EXPECT_EQ(plan.create, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS);
  ASSERT_EQ(plan.joins.size(), 2u);
  EXPECT_EQ(plan.joins[0].path, "/run/netns/x");
  EXPECT_EQ(plan.joins[1].clone_flag, CLONE_NEWIPC);
  EXPECT_EQ(plan.joins[1].sandbox_fd, 7);
  EXPECT_EQ(plan.AllFlags(), CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC);
}

TEST(NamespacePlanTest, SandboxNamespacesThatAreNotAskedForAreNotJoined) {
  ASSERT_OK_AND_ASSIGN(const NamespacePlan plan, PlanNamespaces(With({}), {1, 2, 3}));
  EXPECT_EQ(plan.AllFlags(), CLONE_NEWNS);
}

TEST(NamespacePlanTest, WrongListsAreRefused) {
  EXPECT_THAT(PlanNamespaces(With({{"pid", ""}, {"pid", "/x"}}), {}), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(PlanNamespaces(With({{"nosuch", ""}}), {}), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(PlanNamespaces(With({{"mount", "/x"}}), {}), IsErrorCode(Code::kUnimplemented));
}

TEST(NamespacePlanTest, UserNamespacesAndTheirMaps) {
  EXPECT_TRUE(MakesUserNamespace(With({{"user", ""}})));
  EXPECT_FALSE(MakesUserNamespace(With({{"user", "/x"}})));
  EXPECT_THAT(WriteIdMaps(1, {}, {{0, 0, 1}}), IsErrorCode(Code::kInvalidArgument));
}

TEST(NamespaceStageTest, ParametersAreSetWhereTheirNamespaceIs) {
  ASSERT_OK_AND_ASSIGN(const NamespacePlan plan,
                       PlanNamespaces(With({{"ipc", ""}, {"uts", ""}, {"user", ""}}), {.ipc_fd = 7}));
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("net/ipv4/ip_forward")), Stage::kAgents);
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("vm/swappiness")), Stage::kAgents);
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("kernel/shmmax")), Stage::kJoined);
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("fs/mqueue/msg_max")), Stage::kJoined);
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("kernel/domainname")), Stage::kNew);
  EXPECT_EQ(StageOf(plan, NamespaceOfSysctl("user/max_user_namespaces")), Stage::kNew);
}

TEST(SysctlPathTest, DotsSeparateUnlessSlashesDo) {
  ASSERT_OK_AND_ASSIGN(std::string path, SysctlPath("net.ipv4.ip_forward"));
  EXPECT_EQ(path, "net/ipv4/ip_forward");
  ASSERT_OK_AND_ASSIGN(path, SysctlPath("net/ipv4/conf/eth0.1/forwarding"));
  EXPECT_EQ(path, "net/ipv4/conf/eth0.1/forwarding");
}

TEST(SysctlPathTest, PathsThatLeaveAreRefused) {
  for (const char* name : {"", "../etc", "a/../../b", "/abs", "a//b", "a/./b", "a..b", "..", "."}) {
    EXPECT_THAT(SysctlPath(name), IsErrorCode(Code::kInvalidArgument)) << name;
  }
}

}  // namespace
}  // namespace kata::jail
