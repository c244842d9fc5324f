// Tests of jail/exec_path.h.
#include "jail/exec_path.h"

#include <sys/stat.h>

#include <memory>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::_;
using testing::ElementsAre;

class FindExecutableTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
    ASSERT_OK(MakeDirectories(Path("a/directory")));
    ASSERT_OK(MakeDirectories(Path("b")));
    ASSERT_OK(WriteFileAtomic(Path("a/plain"), "", 0644));
    ASSERT_OK(WriteFileAtomic(Path("b/plain"), "", 0755));
    ASSERT_OK(WriteFileAtomic(Path("a/denied"), "", 0600));
    environment_ = {"PATH=" + Path("nosuch") + ":" + Path("a") + ":" + Path("b")};
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::unique_ptr<TempDir> directory_;
  std::vector<std::string> environment_;
};

TEST_F(FindExecutableTest, TheFirstExecutableFileInPathIsTaken) {
  ASSERT_OK_AND_ASSIGN(const std::string found, FindExecutable("plain", environment_));
  EXPECT_EQ(found, Path("b/plain"));
}

TEST_F(FindExecutableTest, ErrorsSayWhy) {
  EXPECT_THAT(FindExecutable("absent", environment_),
              IsError(Code::kNotFound, "execute 'absent': executable file not found in $PATH"));
  EXPECT_THAT(FindExecutable("directory", environment_), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(FindExecutable("denied", environment_), IsErrorCode(Code::kPermissionDenied));
  EXPECT_THAT(FindExecutable(Path("a/plain"), {}),
              IsError(_, "execute '" + Path("a/plain") + "': permission denied"));
  EXPECT_THAT(FindExecutable(Path("a"), {}), IsError(_, "execute '" + Path("a") + "': permission denied"));
  EXPECT_THAT(FindExecutable("", environment_), IsErrorCode(Code::kNotFound));
}

TEST(EnvironmentTest, TheLastSettingCountsAndHomeIsAdded) {
  EXPECT_THAT(CompleteEnvironment({"A=1", "HOME=/h", "A=2"}, 0), ElementsAre("A=2", "HOME=/h"));
  EXPECT_THAT(CompleteEnvironment({"HOME="}, 4000000000), ElementsAre("HOME=/"));
}

}  // namespace
}  // namespace kata::jail
