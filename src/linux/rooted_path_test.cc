// Tests of linux/rooted_path.h.
#include "linux/rooted_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

class RootedPathTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
    ASSERT_OK(MakeDirectories(Root("/real/sub")));
    ASSERT_OK(WriteFileAtomic(directory_->path() + "/secret", "s"));
    ASSERT_OK_AND_ASSIGN(root_fd_, Open(Root(""), O_PATH | O_DIRECTORY));
  }
  std::string Root(const std::string& path) const { return directory_->path() + "/root" + path; }
  void Link(const std::string& target, const std::string& path) {
    ASSERT_EQ(symlink(target.c_str(), Root(path).c_str()), 0);
  }
  std::unique_ptr<TempDir> directory_;
  UniqueFd root_fd_;
};

TEST_F(RootedPathTest, DotDotAndLinksStayInside) {
  Link("../../secret", "/up");
  Link("/real", "/absolute");
  EXPECT_THAT(OpenInRoot(root_fd_.get(), "/../secret", O_RDONLY), test::IsErrorCode(Code::kNotFound));
  EXPECT_THAT(OpenInRoot(root_fd_.get(), "up", O_RDONLY), test::IsErrorCode(Code::kNotFound));
  EXPECT_OK(OpenInRoot(root_fd_.get(), "/absolute/sub", O_PATH));
}

TEST_F(RootedPathTest, MagicLinksAreRefused) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd proc, Open("/proc", O_PATH | O_DIRECTORY));
  EXPECT_FALSE(OpenInRoot(proc.get(), "/self/root/etc", O_PATH));
}

TEST_F(RootedPathTest, DirectoriesAreMadeBehindLinksInsideTheRoot) {
  Link("/real", "/absolute");
  EXPECT_OK(MkdirAllInRoot(root_fd_.get(), "/absolute/new/deep"));
  EXPECT_TRUE(PathExists(Root("/real/new/deep")));
  EXPECT_OK(MkdirAllInRoot(root_fd_.get(), "/absolute/new/deep"));
}

TEST_F(RootedPathTest, WhatADanglingLinkMeansIsMadeInsideTheRoot) {
  Link("/nowhere/x", "/dangling");
  EXPECT_OK(MkdirAllInRoot(root_fd_.get(), "/dangling/y"));
  EXPECT_TRUE(PathExists(Root("/nowhere/x/y")));
  // As /etc/resolv.conf in many images.
  Link("../run/systemd/resolve/stub", "/real/resolv.conf");
  EXPECT_OK(CreateFileInRoot(root_fd_.get(), "/real/resolv.conf"));
  EXPECT_TRUE(PathExists(Root("/run/systemd/resolve/stub")));
  Link("../../../../outside", "/real/up");
  EXPECT_OK(CreateFileInRoot(root_fd_.get(), "/real/up"));
  EXPECT_TRUE(PathExists(Root("/outside")));
  EXPECT_FALSE(PathExists(directory_->path() + "/outside"));
}

TEST_F(RootedPathTest, LinksInACircleEnd) {
  Link("two", "/one");
  Link("one", "/two");
  EXPECT_EQ(MkdirAllInRoot(root_fd_.get(), "/one/x").error().sys_errno(), ELOOP);
  EXPECT_EQ(CreateFileInRoot(root_fd_.get(), "/one").error().sys_errno(), ELOOP);
  // Circular only by the parts that do not exist.
  Link("/missing/../grow/x", "/grow");
  EXPECT_FALSE(MkdirAllInRoot(root_fd_.get(), "/grow"));
}

TEST_F(RootedPathTest, FilesAreCreatedOrKept) {
  ASSERT_OK(CreateFileInRoot(root_fd_.get(), "/a/b/file", 0640));
  struct stat info{};
  ASSERT_EQ(stat(Root("/a/b/file").c_str(), &info), 0);
  EXPECT_TRUE(S_ISREG(info.st_mode));
  EXPECT_OK(CreateFileInRoot(root_fd_.get(), "/real"));
  EXPECT_THAT(MkdirAllInRoot(root_fd_.get(), "/a/b/file"), test::IsErrorCode(Code::kInvalidArgument));
}

TEST_F(RootedPathTest, ParentAndName) {
  ASSERT_OK_AND_ASSIGN(const ParentDirectory parent, OpenParentInRoot(root_fd_.get(), "/new/./node"));
  EXPECT_EQ(parent.name, "node");
  EXPECT_TRUE(PathExists(Root("/new")));
  EXPECT_THAT(OpenParentInRoot(root_fd_.get(), "/"), test::IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(OpenParentInRoot(root_fd_.get(), "/real/.."), test::IsErrorCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace kata::linux
