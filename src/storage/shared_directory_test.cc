#include "storage/shared_directory.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/utf8.h"
#include "linux/mountinfo.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::storage {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::_;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

constexpr char kGuestPrefix[] = "/run/kata-containers/shared/containers/";

// In a mount namespace of the test's own, as a sandbox server's is.
class SharedDirectoryTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    ASSERT_OK(linux::Unshare(CLONE_NEWNS));
    ASSERT_OK(linux::Mount("", "/", "", MS_SLAVE | MS_REC));
  }

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    state_ = directory_.path() + "/state";
    source_ = directory_.path() + "/source";
    ASSERT_OK(MakeDirectories(state_));
    ASSERT_OK(MakeDirectories(source_ + "/nested"));
    ASSERT_OK(WriteFileAtomic(source_ + "/file", "content"));
    mounts_before_ = MountCount();
    Result<std::unique_ptr<SharedDirectory>> shared = SharedDirectory::Create(state_);
    ASSERT_OK(shared);
    shared_ = std::move(*shared);
  }

  void TearDown() override {
    if (!shared_) return;
    shared_.reset();
    EXPECT_OK(linux::UnmountAll(source_ + "/nested"));
    EXPECT_OK(linux::UnmountAll(source_));
    EXPECT_EQ(MountCount(), mounts_before_);
    EXPECT_FALSE(PathExists(state_ + "/mounts"));
    EXPECT_FALSE(PathExists(state_ + "/shared"));
    EXPECT_TRUE(PathExists(source_ + "/file")) << "the source lost its content";
  }

  static size_t MountCount() { return linux::ReadMountInfo()->size(); }

  // Where the guest's path is in the exported directory.
  std::string Exported(const std::string& guest_path) const {
    EXPECT_THAT(guest_path, StartsWith(kGuestPrefix));
    return shared_->export_path() + "/" + guest_path.substr(sizeof kGuestPrefix - 1);
  }

  static int CreateErrno(const std::string& path) {
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    return fd ? 0 : errno;
  }

  static std::string Owner(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
    return fmt::format("{}:{}", status.st_uid, status.st_gid);
  }

  TempDir directory_ = std::move(*TempDir::Create());
  std::string state_, source_;
  size_t mounts_before_ = 0;
  std::unique_ptr<SharedDirectory> shared_;
};

TEST_F(SharedDirectoryTest, RootfsIsWritableButNothingBesideIt) {
  ASSERT_OK_AND_ASSIGN(const std::string path, shared_->AddRootfs("c1", source_, false));
  EXPECT_EQ(path, std::string(kGuestPrefix) + "c1/rootfs");
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(Exported(path) + "/file"));
  EXPECT_EQ(text, "content");
  EXPECT_EQ(CreateErrno(Exported(path) + "/new"), 0);
  EXPECT_TRUE(PathExists(source_ + "/new"));
  EXPECT_EQ(CreateErrno(shared_->export_path() + "/top"), EROFS);
  EXPECT_EQ(CreateErrno(shared_->export_path() + "/c1/beside"), EROFS);
}

TEST_F(SharedDirectoryTest, ReadOnlyIsEnforcedOnTheHost) {
  ASSERT_OK_AND_ASSIGN(const std::string rootfs, shared_->AddRootfs("c1", source_, true));
  EXPECT_EQ(CreateErrno(Exported(rootfs) + "/new"), EROFS);
  ASSERT_OK_AND_ASSIGN(const std::string writable, shared_->AddBindMount("c1", source_, "/data", {}));
  EXPECT_EQ(CreateErrno(Exported(writable) + "/new"), 0);
}

TEST_F(SharedDirectoryTest, SingleFilesAndNames) {
  ASSERT_OK_AND_ASSIGN(const std::string file, shared_->AddBindMount("c1", source_ + "/file", "/etc/app.conf",
                                                                     {.set = MOUNT_ATTR_RDONLY}));
  EXPECT_THAT(file, MatchesRegex(std::string(kGuestPrefix) + "c1-[0-9a-f]{16}-app.conf"));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(Exported(file)));
  EXPECT_EQ(text, "content");
  ASSERT_OK_AND_ASSIGN(const std::string top,
                       shared_->AddBindMount("c1", source_, "/", {.set = MOUNT_ATTR_RDONLY}));
  EXPECT_THAT(top, MatchesRegex(".*-root"));
  ASSERT_OK_AND_ASSIGN(
      const std::string longest,
      shared_->AddBindMount("c1", source_, "/" + std::string(255, 'n'), {.set = MOUNT_ATTR_RDONLY}));
  EXPECT_TRUE(PathExists(Exported(longest) + "/file"));
  ASSERT_OK_AND_ASSIGN(const std::string long_id, shared_->AddBindMount(std::string(255, 'c'), source_,
                                                                        "/" + std::string(255, 'n'), {}));
  EXPECT_TRUE(PathExists(Exported(long_id) + "/file"));
  std::string kanji = "/";
  for (int i = 0; i < 80; ++i) kanji += "\xe6\xbc\xa2";
  ASSERT_OK_AND_ASSIGN(const std::string cut, shared_->AddBindMount("c1", source_, kanji, {}));
  EXPECT_EQ(ReplaceInvalidUtf8(cut), cut);
}

TEST_F(SharedDirectoryTest, MountsBelowTheSourceComeAlongWhenRecursive) {
  ASSERT_OK(linux::Mount("tmpfs", source_ + "/nested", "tmpfs", 0));
  ASSERT_OK(WriteFileAtomic(source_ + "/nested/deep", "x"));
  ASSERT_OK_AND_ASSIGN(const std::string recursive,
                       shared_->AddBindMount("c1", source_, "/r", {.recursive = true}));
  ASSERT_OK_AND_ASSIGN(const std::string flat, shared_->AddBindMount("c1", source_, "/f", {}));
  EXPECT_TRUE(PathExists(Exported(recursive) + "/nested/deep"));
  EXPECT_FALSE(PathExists(Exported(flat) + "/nested/deep"));
  EXPECT_OK(shared_->Remove("c1"));
  EXPECT_TRUE(PathExists(source_ + "/nested/deep")) << "an unmount reached the source";
}

TEST_F(SharedDirectoryTest, ReadOnlyReachesMountsBelowTheSource) {
  ASSERT_OK(linux::Mount("tmpfs", source_ + "/nested", "tmpfs", 0));
  ASSERT_OK_AND_ASSIGN(const std::string shared, shared_->AddBindMount("c1", source_, "/r",
                                                                       {.set = MOUNT_ATTR_RDONLY,
                                                                        .recursive_set = MOUNT_ATTR_RDONLY,
                                                                        .recursive = true}));
  EXPECT_EQ(CreateErrno(Exported(shared) + "/nested/new"), EROFS);
  EXPECT_EQ(CreateErrno(source_ + "/nested/new"), 0);
}

TEST_F(SharedDirectoryTest, LaterMountsBelowTheSourceAreFollowedOnlyAsASlave) {
  ASSERT_OK(linux::Mount(source_, source_, "", MS_BIND));
  ASSERT_OK(linux::Mount("", source_, "", MS_SHARED));
  ASSERT_OK_AND_ASSIGN(const std::string slave,
                       shared_->AddBindMount("c1", source_, "/s", {.recursive = true, .slave = true}));
  ASSERT_OK_AND_ASSIGN(const std::string other,
                       shared_->AddBindMount("c1", source_, "/p", {.recursive = true}));
  ASSERT_OK(linux::Mount("tmpfs", source_ + "/nested", "tmpfs", 0));
  ASSERT_OK(WriteFileAtomic(source_ + "/nested/late", "x"));
  EXPECT_TRUE(PathExists(Exported(slave) + "/nested/late"));
  EXPECT_FALSE(PathExists(Exported(other) + "/nested/late"));
}

TEST_F(SharedDirectoryTest, OwnersAreShownThroughIdMaps) {
  ASSERT_OK(linux::Mount("tmpfs", source_ + "/nested", "tmpfs", 0));
  ASSERT_OK(WriteFileAtomic(source_ + "/nested/deep", "x"));
  ASSERT_EQ(chown((source_ + "/file").c_str(), 3, 4), 0);
  oci::IdMap map{.recursive = false,
                 .namespace_path = {},
                 .uid_mappings = {{0, 5000, 10}},
                 .gid_mappings = {{0, 6000, 10}}};
  ASSERT_OK_AND_ASSIGN(const std::string top,
                       shared_->AddBindMount("c1", source_, "/t", {.recursive = true, .id_map = map}));
  map.recursive = true;
  ASSERT_OK_AND_ASSIGN(const std::string all,
                       shared_->AddBindMount("c1", source_, "/a", {.recursive = true, .id_map = map}));
  ASSERT_OK_AND_ASSIGN(const std::string file,
                       shared_->AddBindMount("c1", source_ + "/file", "/f", {.id_map = map}));
  EXPECT_EQ(Owner(Exported(top) + "/file"), "5003:6004");
  EXPECT_EQ(Owner(Exported(top) + "/nested/deep"), "0:0");
  EXPECT_EQ(Owner(Exported(all) + "/nested/deep"), "5000:6000");
  EXPECT_EQ(Owner(Exported(file)), "5003:6004");
  // An owner that the map does not know cannot make files.
  EXPECT_EQ(CreateErrno(Exported(top) + "/new"), EOVERFLOW);
  ASSERT_EQ(chown((Exported(top) + "/file").c_str(), 5001, 6002), 0);
  EXPECT_EQ(Owner(source_ + "/file"), "1:2");
}

TEST_F(SharedDirectoryTest, MapsIdsOfANamespaceByPath) {
  ASSERT_OK_AND_ASSIGN(const auto user, linux::MakeUserNamespace("0 7000 10\n", "0 8000 10\n"));
  const oci::IdMap map{.recursive = false,
                       .namespace_path = linux::FdPath(user.get()),
                       .uid_mappings = {},
                       .gid_mappings = {}};
  ASSERT_OK_AND_ASSIGN(const std::string path, shared_->AddBindMount("c1", source_, "/t", {.id_map = map}));
  EXPECT_EQ(Owner(Exported(path) + "/file"), "7000:8000");
}

TEST_F(SharedDirectoryTest, SaysWhereIdsCannotBeMapped) {
  const oci::IdMap map{.recursive = false,
                       .namespace_path = {},
                       .uid_mappings = {{0, 5000, 10}},
                       .gid_mappings = {{0, 5000, 10}}};
  EXPECT_THAT(
      shared_->AddBindMount("c1", "/proc/sys", "/t", {.id_map = map}),
      IsError(_, "share '/proc/sys': map ids: the file system does not support it: Invalid argument"));
  oci::IdMap overlapping = map;
  overlapping.uid_mappings = {{0, 5000, 10}, {5, 6000, 10}};
  EXPECT_THAT(shared_->AddBindMount("c1", source_, "/t", {.id_map = overlapping}),
              IsError(_, HasSubstr("create user namespace: map user ids: ")));
}

TEST_F(SharedDirectoryTest, ReachesMountNamespacesCopiedBefore) {
  ASSERT_OK_AND_ASSIGN(const PipeEnds go, MakePipe());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  const std::string expected = shared_->export_path() + "/c1/rootfs/file";
  if (child == 0) {
    // As virtiofsd does it.
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) _exit(2);
    char byte = 'r';
    if (write(go.write.get(), &byte, 1) != 1) _exit(3);
    for (int i = 0; i < 2000; ++i) {
      if (access(expected.c_str(), F_OK) == 0) _exit(0);
      usleep(10000);
    }
    _exit(1);
  }
  char byte;
  ASSERT_EQ(read(go.read.get(), &byte, 1), 1);
  EXPECT_OK(shared_->AddRootfs("c1", source_, false));
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(SharedDirectoryTest, OverlaysLeaveTheirLowerDirectoryAsItIs) {
  for (const char* name : {"/upper", "/work"}) ASSERT_OK(MakeDirectories(directory_.path() + name));
  const Overlay overlay{
      .flags = 0,
      .data = fmt::format("lowerdir={1},upperdir={0}/upper,workdir={0}/work", directory_.path(), source_)};
  ASSERT_OK_AND_ASSIGN(const std::string path, shared_->AddOverlay("c1", overlay, "/data", {}));
  EXPECT_THAT(path, MatchesRegex(std::string(kGuestPrefix) + "c1-[0-9a-f]{16}-data"));
  EXPECT_TRUE(PathExists(Exported(path) + "/file"));
  EXPECT_EQ(CreateErrno(Exported(path) + "/new"), 0);
  EXPECT_TRUE(PathExists(directory_.path() + "/upper/new"));
  EXPECT_FALSE(PathExists(source_ + "/new"));
  EXPECT_OK(shared_->Remove("c1"));
  EXPECT_FALSE(PathExists(Exported(path)));
  // The layers can be used again: nothing holds them any more.
  ASSERT_OK_AND_ASSIGN(const std::string again,
                       shared_->AddOverlay("c1", overlay, "/data", {.set = MOUNT_ATTR_RDONLY}));
  EXPECT_TRUE(PathExists(Exported(again) + "/new"));
  EXPECT_EQ(CreateErrno(Exported(again) + "/other"), EROFS);
}

TEST_F(SharedDirectoryTest, RemoveIsIdempotentAndSurvivesAVanishedSource) {
  const std::string gone = directory_.path() + "/gone";
  ASSERT_OK(MakeDirectories(gone));
  ASSERT_OK(shared_->AddBindMount("c1", gone, "/g", {}));
  ASSERT_OK(shared_->AddRootfs("c1", source_, false));
  ASSERT_OK(shared_->AddRootfs("c2", source_, false));
  ASSERT_EQ(rmdir(gone.c_str()), 0);
  EXPECT_OK(shared_->Remove("c1"));
  EXPECT_OK(shared_->Remove("c1"));
  EXPECT_FALSE(PathExists(state_ + "/mounts/c1"));
  EXPECT_TRUE(PathExists(shared_->export_path() + "/c2/rootfs/file"));
}

TEST_F(SharedDirectoryTest, RemovesWhatIsInUse) {
  ASSERT_OK_AND_ASSIGN(const std::string path, shared_->AddRootfs("c1", source_, false));
  ASSERT_OK_AND_ASSIGN(const UniqueFd open_file, Open(Exported(path) + "/file", O_RDONLY));
  EXPECT_OK(shared_->Remove("c1"));
  EXPECT_FALSE(PathExists(shared_->export_path() + "/c1"));
}

TEST_F(SharedDirectoryTest, RefusesWhatCannotBeShared) {
  EXPECT_THAT(shared_->AddRootfs("c1", "/nonexistent/rootfs", false),
              IsError(Code::kNotFound, HasSubstr("share root file system '/nonexistent/rootfs': ")));
  EXPECT_THAT(shared_->AddBindMount("c1", "/dev/null", "/n", {}),
              IsError(Code::kInvalidArgument, "share '/dev/null': neither a directory nor a regular file"));
  for (const std::string id : {"", ".", "..", "a/b"}) {
    EXPECT_THAT(shared_->AddRootfs(id, source_, false), IsErrorCode(Code::kInvalidArgument));
  }
}

}  // namespace
}  // namespace kata::storage
