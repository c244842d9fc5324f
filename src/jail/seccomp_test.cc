// Tests of jail/seccomp.h.
#include "jail/seccomp.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "jail/jail.h"
#include "oci/seccomp_names.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;

oci::Seccomp Filter(const std::string& default_action) {
  oci::Seccomp seccomp;
  seccomp.default_action = default_action;
  seccomp.architectures = {"SCMP_ARCH_NATIVE"};
  return seccomp;
}

// The exit code of a child that runs `body` under the filter.
int RunUnder(const SeccompFilter& filter, const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !filter.Load()) syscall(SYS_exit_group, 100);
    syscall(SYS_exit_group, body());
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(SeccompTest, ErrnoAndArgumentComparisons) {
  ASSERT_TRUE(SeccompSupported());
  oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.syscalls.push_back({{"getpriority"}, "SCMP_ACT_ERRNO", 77, {{0, 1, 0, "SCMP_CMP_EQ"}}});
  seccomp.syscalls.push_back(
      {{"setpriority"}, "SCMP_ACT_ERRNO", 78, {{2, 0xf0, 0x10, "SCMP_CMP_MASKED_EQ"}}});
  ASSERT_OK_AND_ASSIGN(const SeccompFilter filter, SeccompFilter::Compile(seccomp));
  const auto errno_of = [](long result) { return result < 0 ? errno : 0; };
  EXPECT_EQ(RunUnder(filter, [&] { return errno_of(syscall(SYS_getpriority, 1, 0)); }), 77);
  EXPECT_EQ(RunUnder(filter, [&] { return errno_of(syscall(SYS_getpriority, 0, 0)); }), 0);
  EXPECT_EQ(RunUnder(filter, [&] { return errno_of(syscall(SYS_setpriority, 0, 0, 0x1f)); }), 78);
}

TEST(SeccompTest, SeveralComparisonsOfOneArgumentAreAlternatives) {
  oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.syscalls.push_back(
      {{"getpriority"}, "SCMP_ACT_ERRNO", 77, {{0, 1, 0, "SCMP_CMP_EQ"}, {0, 2, 0, "SCMP_CMP_EQ"}}});
  ASSERT_OK_AND_ASSIGN(const SeccompFilter filter, SeccompFilter::Compile(seccomp));
  for (const int which : {1, 2}) {
    EXPECT_EQ(RunUnder(filter, [&] { return syscall(SYS_getpriority, which, 0) < 0 ? errno : 0; }), 77);
  }
}

TEST(SeccompTest, UnknownNamesAreLeftOutAndNewCallsSayEnosys) {
  oci::Seccomp seccomp = Filter("SCMP_ACT_ERRNO");
  seccomp.syscalls.push_back({{"exit_group", "getpid", "no_such_call", "openat2"}, "SCMP_ACT_ALLOW", {}, {}});
  ASSERT_OK_AND_ASSIGN(const SeccompFilter filter, SeccompFilter::Compile(seccomp));
  EXPECT_EQ(RunUnder(filter, [] { return syscall(SYS_getppid) < 0 ? errno : 0; }), EPERM);
  // A number above openat2, the newest call that the profile names.
  EXPECT_EQ(RunUnder(filter, [] { return syscall(460) < 0 ? errno : 0; }), ENOSYS);
}

TEST(SeccompTest, KillProcess) {
  oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.syscalls.push_back({{"getppid"}, "SCMP_ACT_KILL_PROCESS", {}, {}});
  ASSERT_OK_AND_ASSIGN(const SeccompFilter filter, SeccompFilter::Compile(seccomp));
  EXPECT_EQ(RunUnder(filter, [] { return static_cast<int>(syscall(SYS_getppid)); }), 128 + SIGSYS);
}

// The host judges profiles by these lists before a machine boots.
TEST(SeccompTest, KnownWordsAreTaken) {
  for (const std::string_view action : oci::kSeccompActions) {
    if (action == oci::kSeccompNotify) continue;
    EXPECT_OK(SeccompFilter::Compile(Filter(std::string(action)))) << action;
  }
  for (const std::string_view architecture : oci::kSeccompArchitectures) {
    oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
    seccomp.architectures = {std::string(architecture)};
    // Those of the other byte order cannot be in one filter with ours.
    EXPECT_THAT(SeccompFilter::Compile(seccomp), testing::Not(IsErrorCode(Code::kInvalidArgument)))
        << architecture;
  }
  oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.flags.assign(std::begin(oci::kSeccompFlags), std::end(oci::kSeccompFlags));
  for (const std::string_view op : oci::kSeccompOperators) {
    seccomp.syscalls.push_back({{"getppid"}, "SCMP_ACT_ERRNO", 1, {{0, 1, 2, std::string(op)}}});
  }
  EXPECT_OK(SeccompFilter::Compile(seccomp));
}

TEST(SeccompTest, WrongProfilesAreRefused) {
  EXPECT_THAT(SeccompFilter::Compile(Filter("SCMP_ACT_NOSUCH")),
              IsError(Code::kInvalidArgument, HasSubstr("SCMP_ACT_NOSUCH")));
  EXPECT_THAT(SeccompFilter::Compile(Filter("SCMP_ACT_NOTIFY")), IsErrorCode(Code::kUnimplemented));
  oci::Seccomp seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.architectures = {"SCMP_ARCH_PDP11"};
  EXPECT_THAT(SeccompFilter::Compile(seccomp), IsErrorCode(Code::kInvalidArgument));
  seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.flags = {"SECCOMP_FILTER_FLAG_NOSUCH"};
  EXPECT_THAT(SeccompFilter::Compile(seccomp), IsErrorCode(Code::kInvalidArgument));
  seccomp = Filter("SCMP_ACT_ALLOW");
  seccomp.syscalls.push_back({{"getppid"}, "SCMP_ACT_ERRNO", 70000, {}});
  EXPECT_THAT(SeccompFilter::Compile(seccomp), IsErrorCode(Code::kInvalidArgument));
  seccomp.syscalls[0] = {{"getppid"}, "SCMP_ACT_ERRNO", 1, {{6, 0, 0, "SCMP_CMP_EQ"}}};
  EXPECT_THAT(SeccompFilter::Compile(seccomp), IsErrorCode(Code::kInvalidArgument));
  seccomp.syscalls[0].args = {{0, 0, 0, "SCMP_CMP_NOSUCH"}};
  EXPECT_THAT(SeccompFilter::Compile(seccomp), IsErrorCode(Code::kInvalidArgument));
}

TEST(SeccompTest, AllArchitecturesOfAnEnginesDefaultProfile) {
  oci::Seccomp seccomp = Filter("SCMP_ACT_ERRNO");
  seccomp.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  seccomp.syscalls.push_back({{"read", "write", "clone"}, "SCMP_ACT_ALLOW", {}, {{0, 1, 0, "SCMP_CMP_NE"}}});
  ASSERT_OK_AND_ASSIGN(const SeccompFilter filter, SeccompFilter::Compile(seccomp));
  EXPECT_GT(filter.program().size(), 10u);
}

}  // namespace
}  // namespace kata::jail
