// Words of Storage.options, and the table of what is mounted.
#include "agent/storage/storage_options.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/storage/registry.h"
#include "base/file.h"
#include "linux/mountinfo.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;

grpc::Storage MakeStorage(const std::string& driver, const std::string& source,
                          const std::string& mount_point, const std::vector<std::string>& options = {}) {
  grpc::Storage storage;
  storage.set_driver(driver);
  storage.set_source(source);
  storage.set_mount_point(mount_point);
  for (const std::string& option : options) storage.add_options(option);
  return storage;
}

TEST(ParseStorageOptions, TakesItsOwnWords) {
  const grpc::Storage storage = MakeStorage("local", "", "/x", {"mode=1777", "fsgid=1000", "rbind"});
  ASSERT_OK_AND_ASSIGN(const StorageOptions local, ParseStorageOptions(storage, true));
  EXPECT_EQ(local.mode, mode_t{01777});
  EXPECT_EQ(local.group, gid_t{1000});
  EXPECT_THAT(local.rest, ElementsAre("rbind"));
  ASSERT_OK_AND_ASSIGN(const StorageOptions tmpfs, ParseStorageOptions(storage, false));
  EXPECT_FALSE(tmpfs.mode.has_value());
  EXPECT_THAT(tmpfs.rest, ElementsAre("mode=1777", "rbind"));
}

TEST(ParseStorageOptions, RefusesMalformedNumbers) {
  EXPECT_THAT(ParseStorageOptions(MakeStorage("local", "", "/x", {"mode=0999"}), true),
              IsError(Code::kInvalidArgument, HasSubstr("'mode=0999'")));
  EXPECT_THAT(ParseStorageOptions(MakeStorage("local", "", "/x", {"mode=77777"}), true),
              IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(ParseStorageOptions(MakeStorage("local", "", "/x", {"fsgid="}), true),
              IsErrorCode(Code::kInvalidArgument));
}

TEST(ParseHugePageRequest, ReadsBothSizes) {
  ASSERT_OK_AND_ASSIGN(const HugePageRequest request, ParseHugePageRequest({"rw", "pagesize=2M,size=1Gi"}));
  EXPECT_EQ(request.page_bytes, 2u << 20);
  EXPECT_EQ(request.size_bytes, 1u << 30);
  EXPECT_THAT(ParseHugePageRequest({"pagesize=2M"}), IsError(Code::kInvalidArgument, HasSubstr("'size'")));
  EXPECT_THAT(ParseHugePageRequest({"size=2M"}), IsError(Code::kInvalidArgument, HasSubstr("'pagesize'")));
}

TEST(ParseByteSize, KnowsUnitsAndLimits) {
  EXPECT_EQ(ParseByteSize("4096").value(), 4096u);
  EXPECT_EQ(ParseByteSize("64kB").value(), 65536u);
  EXPECT_EQ(ParseByteSize("3MiB").value(), 3u << 20);
  EXPECT_THAT(ParseByteSize("12T"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(ParseByteSize("M"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(ParseByteSize("99999999999G"), IsErrorCode(Code::kInvalidArgument));
}

class StorageTableTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_ = std::make_unique<TempDir>(std::move(directory));
  }
  static bool Mounted(const std::string& path) {
    const Result<std::vector<linux::MountInfo>> mounts = linux::ReadMountInfo();
    return mounts && linux::FindMount(*mounts, path) != nullptr;
  }
  std::unique_ptr<TempDir> directory_;
  StorageTable table_;
};

TEST_F(StorageTableTest, MountsOncePerMountPointAndUnmountsAfterTheLastUse) {
  const std::string path = directory_->path() + "/a";
  const grpc::Storage storage = MakeStorage("ephemeral", "tmpfs", path, {"size=1m"});
  ASSERT_OK(table_.Acquire(storage));
  ASSERT_OK(WriteFileAtomic(path + "/file", "x"));
  ASSERT_OK(table_.Acquire(storage));
  EXPECT_TRUE(PathExists(path + "/file"));
  ASSERT_OK(table_.Release(path));
  EXPECT_TRUE(Mounted(path));
  ASSERT_OK(table_.Release(path));
  EXPECT_FALSE(Mounted(path));
  EXPECT_FALSE(PathExists(path));
  EXPECT_THAT(table_.Release(path), IsErrorCode(Code::kNotFound));
}

TEST_F(StorageTableTest, SharedStaysUntilTheEndAndNestedMountsGoInOrder) {
  const std::string outer = directory_->path() + "/outer";
  grpc::Storage shared = MakeStorage("ephemeral", "tmpfs", outer);
  shared.set_shared(true);
  ASSERT_OK(table_.Acquire(shared));
  ASSERT_OK(table_.Acquire(MakeStorage("ephemeral", "tmpfs", outer + "/inner")));
  ASSERT_OK(table_.Release(outer));
  EXPECT_TRUE(Mounted(outer));
  ASSERT_OK(table_.ReleaseAll());
  EXPECT_FALSE(Mounted(outer));
}

TEST_F(StorageTableTest, LocalAndBind) {
  const std::string local = directory_->path() + "/local";
  const std::string bind = directory_->path() + "/bind";
  ASSERT_OK(table_.Acquire(MakeStorage("local", "local", local, {"mode=0750", "fsgid=7"})));
  struct stat info{};
  ASSERT_EQ(stat(local.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, mode_t{02750});
  EXPECT_EQ(info.st_gid, gid_t{7});
  ASSERT_OK(table_.Acquire(MakeStorage("bind", local, bind, {"ro"})));
  EXPECT_THAT(WriteFileAtomic(bind + "/x", ""), IsError(testing::_, HasSubstr("Read-only file system")));
  ASSERT_OK(table_.ReleaseAll());
  EXPECT_FALSE(PathExists(local));
}

TEST_F(StorageTableTest, RefusesWhatItDoesNotKnow) {
  const std::string path = directory_->path() + "/x";
  EXPECT_THAT(table_.Acquire(MakeStorage("nosuch", "", path)),
              IsError(Code::kUnimplemented, "unknown storage driver 'nosuch'"));
  EXPECT_THAT(table_.Acquire(MakeStorage("local", "", "relative")), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(table_.Acquire(MakeStorage("local", "", "/a/../b")), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(table_.Acquire(MakeStorage("virtio-fs", "nosuchtag", path)),
              IsError(testing::_, HasSubstr("(driver 'virtio-fs'): mount 'nosuchtag' on '" + path)));
}

}  // namespace
}  // namespace kata::agent
