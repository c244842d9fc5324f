// Tests of linux/mounts.h.
#include "linux/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "linux/mountinfo.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

using test::IsError;
using testing::_;
using testing::HasSubstr;

class MountsTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::unique_ptr<TempDir> directory_;
};

TEST_F(MountsTest, ScopedMountUnmountsOnDestruction) {
  ASSERT_OK(MakeDirectories(Path("m")));
  {
    ASSERT_OK(Mount("tmpfs", Path("m"), "tmpfs", MS_NOSUID, "size=64k"));
    const ScopedMount mount(Path("m"));
    ASSERT_OK_AND_ASSIGN(const std::vector<MountInfo> mounts, ReadMountInfo());
    const MountInfo* info = FindMount(mounts, Path("m"));
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(info->fs_type, "tmpfs");
    EXPECT_TRUE(info->HasOption("nosuid"));
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<MountInfo> mounts, ReadMountInfo());
  EXPECT_EQ(FindMount(mounts, Path("m")), nullptr);
}

TEST_F(MountsTest, ErrorsNameSourceAndTarget) {
  EXPECT_THAT(Mount("/a", Path("nosuch"), "tmpfs", 0),
              IsError(Code::kNotFound, HasSubstr("mount '/a' on '" + Path("nosuch"))));
  EXPECT_THAT(Unmount(Path("nosuch")), IsError(Code::kNotFound, HasSubstr("unmount '")));
  EXPECT_OK(UnmountAll(Path("nosuch")));
}

TEST_F(MountsTest, UnmountAllTakesEveryLayer) {
  ASSERT_OK(MakeDirectories(Path("m")));
  ASSERT_OK(Mount("tmpfs", Path("m"), "tmpfs", 0));
  ASSERT_OK(Mount("tmpfs", Path("m"), "tmpfs", 0));
  EXPECT_OK(UnmountAll(Path("m")));
  EXPECT_THAT(Unmount(Path("m")), test::IsErrorCode(Code::kInvalidArgument));
}

TEST_F(MountsTest, MountsByDescriptor) {
  ASSERT_OK(MakeDirectories(Path("target")));
  ASSERT_OK_AND_ASSIGN(const UniqueFd mount_fd,
                       CreateMount("tmpfs", {{"size", "64k"}, {"mode", "750"}}, MOUNT_ATTR_NODEV));
  ASSERT_OK_AND_ASSIGN(const UniqueFd target, Open(Path("target"), O_PATH));
  ASSERT_OK(AttachMount(mount_fd.get(), target.get()));
  const ScopedMount scoped(Path("target"));
  ASSERT_OK(SetMountAttributes(mount_fd.get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME, 0, false));
  ASSERT_OK_AND_ASSIGN(const unsigned long flags, MountFlagsAt(mount_fd.get()));
  EXPECT_EQ(flags, static_cast<unsigned long>(MS_RDONLY | MS_NODEV | MS_NOATIME));
}

TEST_F(MountsTest, FailedFileSystemCreationCarriesTheKernelsMessage) {
  EXPECT_THAT(CreateMount("tmpfs", {{"nosuchoption", "1"}}, 0), IsError(_, HasSubstr("nosuchoption")));
  EXPECT_THAT(CreateMount("nosuchfs", {}, 0), IsError(_, HasSubstr("'nosuchfs'")));
}

}  // namespace
}  // namespace kata::linux
