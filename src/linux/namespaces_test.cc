// Tests of linux/namespaces.h.
#include "linux/namespaces.h"

#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "linux/mounts.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

class NamespacesTest : public test::LeakCheckedTest {};

TEST_F(NamespacesTest, KindsByName) {
  ASSERT_OK_AND_ASSIGN(const NamespaceKind kind, FindNamespaceKind("network"));
  EXPECT_EQ(kind.clone_flag, CLONE_NEWNET);
  EXPECT_EQ(kind.proc_name, "net");
  EXPECT_THAT(FindNamespaceKind("net"), test::IsErrorCode(Code::kInvalidArgument));
  EXPECT_EQ(DescribeNamespaces(CLONE_NEWNS | CLONE_NEWPID), "pid, mount");
}

TEST_F(NamespacesTest, ThreadMovesToANewNamespaceAndBack) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  std::thread([] {
    ASSERT_OK_AND_ASSIGN(const NamespaceFd old, NamespaceFd::OfProcess(0, CLONE_NEWUTS));
    ASSERT_OK(Unshare(CLONE_NEWUTS));
    ASSERT_OK_AND_ASSIGN(const NamespaceFd fresh, NamespaceFd::OfProcess(0, CLONE_NEWUTS));
    ASSERT_OK_AND_ASSIGN(bool same, old.IsSameAs(fresh));
    EXPECT_FALSE(same);
    ASSERT_OK(old.Enter());
    ASSERT_OK_AND_ASSIGN(const NamespaceFd now, NamespaceFd::OfProcess(0, CLONE_NEWUTS));
    ASSERT_OK_AND_ASSIGN(same, old.IsSameAs(now));
    EXPECT_TRUE(same);
  }).join();
}

TEST_F(NamespacesTest, MountsInACopyAreSeenNowhereElse) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const TempDir directory = std::move(*TempDir::Create());
  const std::string file = directory.path() + "/file";
  ASSERT_OK_AND_ASSIGN(const NamespaceFd own, NamespaceFd::OfProcess(0, CLONE_NEWNS));
  for (const int name_space : {-1, own.get()}) {
    EXPECT_OK(CallInMountNamespaceCopy(name_space, [&]() -> Status {
      TRY(Mount("", directory.path(), "tmpfs", 0));
      return WriteFileAtomic(file, "x");
    }));
    EXPECT_FALSE(PathExists(file));
  }
  EXPECT_THAT(CallInMountNamespaceCopy(-1, [] { return Status(Error(Code::kNotFound, "told")); }),
              test::IsError(Code::kNotFound, "told"));
}

TEST_F(NamespacesTest, MapsOfAUserNamespaceAreRead) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_OK_AND_ASSIGN(const NamespaceFd user, MakeUserNamespace("0 5000 10\n20 7000 1\n", "0 6000 10\n"));
  ASSERT_OK_AND_ASSIGN(const IdMaps maps, ReadIdMaps(user));
  EXPECT_THAT(maps.uids, testing::MatchesRegex(" +0 +5000 +10\n +20 +7000 +1\n"));
  EXPECT_THAT(maps.gids, testing::MatchesRegex(" +0 +6000 +10\n"));
  ASSERT_OK_AND_ASSIGN(const NamespaceFd own, NamespaceFd::OfProcess(0, CLONE_NEWUSER));
  EXPECT_FALSE(ReadIdMaps(own)) << "nobody can enter the namespace that he is in";
}

TEST_F(NamespacesTest, FilesOfAnotherKindAreRefused) {
  EXPECT_THAT(
      NamespaceFd::FromPath("/proc/self/ns/uts", CLONE_NEWIPC),
      test::IsError(Code::kInvalidArgument, testing::HasSubstr("expected namespace of type ipc, found uts")));
  EXPECT_FALSE(NamespaceFd::FromPath("/dev/null", CLONE_NEWIPC));
  EXPECT_THAT(NamespaceFd::FromPath("/nosuch", CLONE_NEWIPC), test::IsErrorCode(Code::kNotFound));
}

}  // namespace
}  // namespace kata::linux
