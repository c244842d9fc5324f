// Words of Storage.options, and the table of what is mounted.
#include "agent/storage/storage_options.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/storage/fs_group.h"
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
  StorageTable table_{std::chrono::seconds(1)};
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

TEST_F(StorageTableTest, FollowsAWatchedDirectory) {
  const std::string source = directory_->path() + "/source";
  const std::string copy = directory_->path() + "/watchable/c1-config";
  const auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_OK(WriteFileAtomic(source + "/" + name, text, 0640));
  };
  const auto link = [&](const std::string& target) {
    ASSERT_EQ(symlink(target.c_str(), (source + "/new").c_str()), 0);
    ASSERT_EQ(rename((source + "/new").c_str(), (source + "/..data").c_str()), 0);
  };
  // The shape of a Kubernetes volume: the visible name leads through a link that is switched atomically.
  ASSERT_OK(MakeDirectories(source + "/..1"));
  write("..1/key", "one");
  link("..1");
  ASSERT_EQ(symlink("..data/key", (source + "/key").c_str()), 0);
  int watches = 0;
  table_.OnWatch([&] { ++watches; });
  EXPECT_FALSE(table_.Watching());
  ASSERT_OK(table_.Acquire(MakeStorage("watchable-bind", source, copy)));
  EXPECT_TRUE(table_.Watching());
  EXPECT_EQ(watches, 1);
  EXPECT_TRUE(Mounted(directory_->path() + "/watchable"));
  EXPECT_FALSE(Mounted(copy));
  EXPECT_EQ(ReadFile(copy + "/key").value_or("error"), "one");
  struct stat info{};
  ASSERT_EQ(stat((copy + "/..1/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, mode_t{0640});

  ASSERT_OK(MakeDirectories(source + "/..2"));
  write("..2/key", "two");
  link("..2");
  ASSERT_OK(RemoveTree(source + "/..1"));
  table_.SyncWatched();
  EXPECT_EQ(ReadFile(copy + "/key").value_or("error"), "two");
  EXPECT_FALSE(PathExists(copy + "/..1"));

  // It outgrows what is copied.
  for (int i = 0; i < 20; ++i) write(fmt::format("many{}", i), "x");
  table_.SyncWatched();
  EXPECT_FALSE(table_.Watching());
  EXPECT_TRUE(Mounted(copy));
  EXPECT_EQ(ReadFile(copy + "/many19").value_or("error"), "x");
  ASSERT_OK(table_.Release(copy));
  EXPECT_FALSE(PathExists(copy));
  EXPECT_TRUE(PathExists(source + "/many19"));
  ASSERT_OK(table_.ReleaseAll());
  EXPECT_FALSE(Mounted(directory_->path() + "/watchable"));
}

TEST_F(StorageTableTest, FollowsAWatchedFile) {
  const std::string source = directory_->path() + "/file";
  const std::string copy = directory_->path() + "/watchable/c1-file";
  ASSERT_OK(WriteFileAtomic(source, "one"));
  ASSERT_OK(table_.Acquire(MakeStorage("watchable-bind", source, copy)));
  EXPECT_EQ(ReadFile(copy).value_or("error"), "one");
  ASSERT_OK(WriteFileAtomic(source, "two"));
  table_.SyncWatched();
  EXPECT_EQ(ReadFile(copy).value_or("error"), "two");
  ASSERT_OK(table_.ReleaseAll());
  EXPECT_THAT(table_.Acquire(MakeStorage("watchable-bind", source, directory_->path() + "/elsewhere")),
              IsErrorCode(Code::kInvalidArgument));
}

TEST_F(StorageTableTest, GivesAVolumeToItsGroup) {
  const std::string volume = directory_->path() + "/volume";
  ASSERT_OK(MakeDirectories(volume + "/sub"));
  ASSERT_OK(WriteFileAtomic(volume + "/sub/file", "x", 0600));
  ASSERT_OK(WriteFileAtomic(directory_->path() + "/outside", "x", 0600));
  ASSERT_EQ(symlink("../outside", (volume + "/link").c_str()), 0);
  const auto mode_of = [](const std::string& path) {
    struct stat info{};
    EXPECT_EQ(lstat(path.c_str(), &info), 0);
    return std::pair(info.st_gid, info.st_mode & 07777);
  };
  grpc::FSGroup group;
  group.set_group_id(4711);
  group.set_group_change_policy(grpc::OnRootMismatch);
  ASSERT_OK(ApplyFsGroup(volume, group, false));
  EXPECT_EQ(mode_of(volume), std::pair(gid_t{4711}, mode_t{02775}));
  EXPECT_EQ(mode_of(volume + "/sub/file"), std::pair(gid_t{4711}, mode_t{0660}));
  EXPECT_EQ(mode_of(volume + "/link").first, gid_t{4711});
  EXPECT_EQ(mode_of(directory_->path() + "/outside"), std::pair(gid_t{0}, mode_t{0600}))
      << "links lead nowhere";
  // The root is right, so what is below is not looked at; with "Always" it is.
  ASSERT_EQ(chmod((volume + "/sub/file").c_str(), 0600), 0);
  ASSERT_OK(ApplyFsGroup(volume, group, false));
  EXPECT_EQ(mode_of(volume + "/sub/file").second, mode_t{0600});
  group.set_group_change_policy(grpc::Always);
  ASSERT_OK(ApplyFsGroup(volume, group, true));
  EXPECT_EQ(mode_of(volume + "/sub/file").second, mode_t{0640}) << "of a read-only volume";
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
