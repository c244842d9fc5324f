// Tests of jail/copy_up.h.
#include "jail/copy_up.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/unique_fd.h"
#include "linux/mounts.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

class CopyUpTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create("kata-copy-"));
    directory_ = std::make_unique<TempDir>(std::move(directory));
    ASSERT_OK(MakeDirectories(source_ = directory_->path() + "/source"));
    ASSERT_OK(MakeDirectories(target_ = directory_->path() + "/target"));
    // Both of a kind that has all attributes.
    for (const std::string& path : {source_, target_}) {
      ASSERT_EQ(mount("tmpfs", path.c_str(), "tmpfs", 0, nullptr), 0);
      mounts_.emplace_back(path);
    }
  }

  Status Copy() const {
    const UniqueFd source = TRY(Open(source_, O_PATH | O_DIRECTORY));
    const UniqueFd target = TRY(Open(target_, O_PATH | O_DIRECTORY));
    return CopyTree(source.get(), target.get());
  }

  struct stat StatOf(const std::string& path) const {
    struct stat info{};
    EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
    return info;
  }

  void ExpectSame(const std::string& name) const {
    const struct stat source = StatOf(source_ + name);
    const struct stat target = StatOf(target_ + name);
    EXPECT_EQ(target.st_mode, source.st_mode) << name;
    EXPECT_EQ(target.st_uid, source.st_uid) << name;
    EXPECT_EQ(target.st_gid, source.st_gid) << name;
    EXPECT_EQ(target.st_rdev, source.st_rdev) << name;
    EXPECT_EQ(target.st_mtim.tv_sec, source.st_mtim.tv_sec) << name;
    EXPECT_EQ(target.st_mtim.tv_nsec, source.st_mtim.tv_nsec) << name;
  }

  std::unique_ptr<TempDir> directory_;
  std::string source_;
  std::string target_;
  std::vector<linux::ScopedMount> mounts_;
};

TEST_F(CopyUpTest, FilesOfAllKindsKeepTheirAttributes) {
  ASSERT_OK(MakeDirectories(source_ + "/deep", 0751));
  ASSERT_OK(WriteFileAtomic(source_ + "/deep/file", "content", 0640));
  ASSERT_EQ(chown((source_ + "/deep/file").c_str(), 3, 4), 0);
  ASSERT_EQ(chmod((source_ + "/deep/file").c_str(), 04755), 0);
  ASSERT_EQ(symlink("deep/file", (source_ + "/link").c_str()), 0);
  ASSERT_EQ(mknod((source_ + "/fifo").c_str(), S_IFIFO | 0620, 0), 0);
  ASSERT_EQ(mknod((source_ + "/socket").c_str(), S_IFSOCK | 0700, 0), 0);
  ASSERT_EQ(mknod((source_ + "/device").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  ASSERT_EQ(chown((source_ + "/fifo").c_str(), 5, 6), 0);
  const timespec times[] = {{1000, 5}, {2000, 7}};
  for (const char* name : {"/deep/file", "/deep", "/link", "/fifo", "/device"}) {
    ASSERT_EQ(utimensat(AT_FDCWD, (source_ + name).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  ASSERT_EQ(chown(source_.c_str(), 7, 8), 0);
  ASSERT_OK(Copy());
  for (const char* name : {"/deep", "/deep/file", "/link", "/fifo", "/socket", "/device"}) ExpectSame(name);
  EXPECT_EQ(StatOf(target_).st_uid, 0);
  EXPECT_EQ(StatOf(target_).st_mode, S_IFDIR | 01777);
  ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(target_ + "/link"));
  EXPECT_EQ(content, "content");
}

TEST_F(CopyUpTest, CapabilitiesOfProgramsComeAlong) {
  ASSERT_OK(WriteFileAtomic(source_ + "/ping", "program", 0755));
  // VFS_CAP_REVISION_2 with CAP_NET_RAW permitted (<linux/capability.h>).
  const std::string capability(
      "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  if (setxattr((source_ + "/ping").c_str(), "security.capability", capability.data(), capability.size(), 0) <
      0)
    GTEST_SKIP() << "no rights to give capabilities to files";
  ASSERT_EQ(setxattr((source_ + "/ping").c_str(), "trusted.x", "v", 1, 0), 0);
  ASSERT_OK(Copy());
  char value[64];
  EXPECT_EQ(getxattr((target_ + "/ping").c_str(), "security.capability", value, sizeof value), 20);
  EXPECT_EQ(std::string(value, 20), capability);
  EXPECT_EQ(getxattr((target_ + "/ping").c_str(), "trusted.x", value, sizeof value), 1);
}

TEST_F(CopyUpTest, WhatIsMountedBelowComesAlong) {
  ASSERT_OK(MakeDirectories(source_ + "/below"));
  ASSERT_EQ(mount("tmpfs", (source_ + "/below").c_str(), "tmpfs", 0, nullptr), 0);
  mounts_.emplace_back(source_ + "/below");
  ASSERT_OK(WriteFileAtomic(source_ + "/below/file", "content"));
  ASSERT_OK(Copy());
  EXPECT_TRUE(PathExists(target_ + "/below/file"));
  mounts_.pop_back();
}

}  // namespace
}  // namespace kata::jail
