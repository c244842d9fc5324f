#include "agent/kernel_modules.h"

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsErrorCode;
using testing::HasSubstr;

class KernelModulesTest : public test::LeakCheckedTest {};

grpc::KernelModule Module(const std::string& name) {
  grpc::KernelModule module;
  module.set_name(name);
  return module;
}

TEST_F(KernelModulesTest, TakesWhatIsThere) {
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> there, ListDirectory("/sys/module"));
  ASSERT_FALSE(there.empty());
  EXPECT_OK(ProvideKernelModule(Module(there.front())));
  for (const std::string& name : there) {
    if (!name.contains('_')) continue;
    std::string dashed = name;
    dashed[name.find('_')] = '-';
    EXPECT_OK(ProvideKernelModule(Module(dashed)));
    break;
  }
}

TEST_F(KernelModulesTest, NamesWhatItCannotGive) {
  const Status status = ProvideKernelModule(Module("no-such-module-here"));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("load kernel module 'no-such-module-here'"));
  for (const char* name : {"", "a/b", ".x", "..", "-r"}) {
    EXPECT_THAT(ProvideKernelModule(Module(name)), IsErrorCode(Code::kInvalidArgument)) << name;
  }
}

}  // namespace
}  // namespace kata::agent
