// WatchedCopy: what changes in the source changes in the copy, whatever a container has made of that.
#include "agent/storage/watchable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

class WatchedCopyTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
    source_ = directory_->path() + "/source";
    target_ = directory_->path() + "/target";
    ASSERT_OK(MakeDirectories(source_ + "/sub"));
    ASSERT_OK(WriteFileAtomic(source_ + "/sub/file", "first", 0640));
    ASSERT_EQ(symlink("sub/file", (source_ + "/link").c_str()), 0);
    copy_ = std::make_unique<WatchedCopy>(source_, target_);
    ASSERT_OK(copy_->Sync());
  }
  std::unique_ptr<TempDir> directory_;
  std::string source_;
  std::string target_;
  std::unique_ptr<WatchedCopy> copy_;
};

TEST_F(WatchedCopyTest, FilesLinksAndModesArrive) {
  EXPECT_EQ(ReadFile(target_ + "/link").value(), "first");
  struct stat info{};
  ASSERT_EQ(stat((target_ + "/sub/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_TRUE(std::filesystem::is_symlink(target_ + "/link"));
}

TEST_F(WatchedCopyTest, ChangesOfKindAndRemovalsArrive) {
  ASSERT_OK(RemoveTree(source_ + "/sub"));
  ASSERT_OK(WriteFileAtomic(source_ + "/sub", "a file now"));
  ASSERT_EQ(unlink((source_ + "/link").c_str()), 0);
  ASSERT_OK(copy_->Sync());
  EXPECT_EQ(ReadFile(target_ + "/sub").value(), "a file now");
  EXPECT_FALSE(std::filesystem::is_symlink(target_ + "/link"));
}

TEST_F(WatchedCopyTest, ASingleFileIsSeenWhereItIsMounted) {
  const std::string target = directory_->path() + "/file";
  WatchedCopy copy(source_ + "/sub/file", target);
  ASSERT_OK(copy.Sync());
  // As the container's bind mount has it.
  ASSERT_OK_AND_ASSIGN(const UniqueFd mounted, Open(target, O_RDONLY));
  EXPECT_EQ(ReadFd(mounted.get()).value(), "first");
  ASSERT_OK(WriteFileAtomic(source_ + "/sub/file", "and second", 0600));
  ASSERT_OK(copy.Sync());
  ASSERT_EQ(lseek(mounted.get(), 0, SEEK_SET), 0);
  EXPECT_EQ(ReadFd(mounted.get()).value(), "and second");
  struct stat info{};
  ASSERT_EQ(fstat(mounted.get(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(WatchedCopyTest, NothingIsWrittenThroughALinkOfTheContainer) {
  const std::string outside = directory_->path() + "/outside";
  ASSERT_OK(MakeDirectories(outside, 0700));
  ASSERT_OK(WriteFileAtomic(outside + "/file", "not the container's", 0600));
  std::filesystem::remove_all(target_ + "/sub");
  ASSERT_EQ(symlink(outside.c_str(), (target_ + "/sub").c_str()), 0);
  ASSERT_OK(WriteFileAtomic(source_ + "/sub/file", "second", 0666));
  ASSERT_OK(WriteFileAtomic(source_ + "/sub/new", "new"));
  (void)copy_->Sync();
  ASSERT_OK(RemoveTree(source_ + "/sub/file"));
  (void)copy_->Sync();
  EXPECT_EQ(ReadFile(outside + "/file").value(), "not the container's");
  EXPECT_FALSE(PathExists(outside + "/new"));
  struct stat info{};
  ASSERT_EQ(stat(outside.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
}

}  // namespace
}  // namespace kata::agent
