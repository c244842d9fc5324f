// CopyFile: parts become files, and nothing leaves the directory.
#include "agent/copy_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::_;
using testing::HasSubstr;

class CopyFileTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
    base_ = directory_->path() + "/base";
    ASSERT_OK(MakeDirectories(base_));
  }
  grpc::CopyFileRequest Request(const std::string& path, mode_t mode, const std::string& data, int64_t size,
                                int64_t offset = 0) const {
    grpc::CopyFileRequest request;
    request.set_path(path);
    request.set_file_mode(mode);
    request.set_data(data);
    request.set_file_size(size);
    request.set_offset(offset);
    request.set_dir_mode(0700);
    request.set_uid(static_cast<int32_t>(getuid()));
    request.set_gid(static_cast<int32_t>(getgid()));
    return request;
  }
  std::unique_ptr<TempDir> directory_;
  std::string base_;
};

TEST_F(CopyFileTest, AFileAppearsWithItsLastPart) {
  const std::string path = base_ + "/c1/etc/hosts";
  ASSERT_OK(CopyFile(base_, Request(path, S_IFREG | 0640, "127.0", 9)));
  EXPECT_FALSE(PathExists(path));
  ASSERT_OK(CopyFile(base_, Request(path, S_IFREG | 0640, ".0.1", 9, 5)));
  EXPECT_EQ(ReadFile(path).value(), "127.0.0.1");
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, mode_t{S_IFREG | 0640});
  EXPECT_FALSE(PathExists(path + ".tmp"));
}

TEST_F(CopyFileTest, WhatAContainerPutsInTheWayIsNotWaitedFor) {
  const std::string path = base_ + "/hosts";
  ASSERT_OK(CopyFile(base_, Request(path, S_IFREG | 0640, "127.0", 9)));
  ASSERT_EQ(unlink((path + ".tmp").c_str()), 0);
  ASSERT_EQ(mkfifo((path + ".tmp").c_str(), 0600), 0);
  EXPECT_THAT(CopyFile(base_, Request(path, S_IFREG | 0640, ".0.1", 9, 5)), IsError(_, HasSubstr(".tmp")));
}

TEST_F(CopyFileTest, DirectoriesLinksAndEmptyFiles) {
  ASSERT_OK(CopyFile(base_, Request(base_ + "/d", S_IFDIR | 0711, "", 0)));
  ASSERT_OK(CopyFile(base_, Request(base_ + "/d", S_IFDIR | 0755, "", 0)));
  ASSERT_OK(CopyFile(base_, Request(base_ + "/d/link", S_IFLNK | 0777, "../target", 0)));
  ASSERT_OK(CopyFile(base_, Request(base_ + "/d/empty", S_IFREG | 0600, "", 0)));
  char target[64] = {};
  EXPECT_GT(readlink((base_ + "/d/link").c_str(), target, sizeof target), 0);
  EXPECT_STREQ(target, "../target");
  EXPECT_EQ(ReadFile(base_ + "/d/empty").value(), "");
}

TEST_F(CopyFileTest, DoesNotLeaveTheDirectory) {
  ASSERT_EQ(symlink(directory_->path().c_str(), (base_ + "/out").c_str()), 0);
  (void)CopyFile(base_, Request(base_ + "/out/escaped", S_IFREG | 0600, "x", 1));
  (void)CopyFile(base_, Request(base_ + "/../escaped", S_IFREG | 0600, "x", 1));
  EXPECT_FALSE(PathExists(directory_->path() + "/escaped"));
  EXPECT_THAT(CopyFile(base_, Request("/etc/escaped", S_IFREG | 0600, "x", 1)),
              IsError(Code::kInvalidArgument, HasSubstr("not below")));
}

TEST_F(CopyFileTest, RefusesSizesThatDoNotFit) {
  EXPECT_THAT(CopyFile(base_, Request(base_ + "/f", S_IFREG | 0600, "xxx", 2)),
              IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CopyFile(base_, Request(base_ + "/f", S_IFREG | 0600, "", 2, 3)),
              IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CopyFile(base_, Request(base_ + "/f", S_IFREG | 0600, "", -1)),
              IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(CopyFile(base_, Request(base_ + "/f", S_IFCHR | 0600, "", 0)),
              IsError(Code::kInvalidArgument, HasSubstr("file type")));
}

}  // namespace
}  // namespace kata::agent
