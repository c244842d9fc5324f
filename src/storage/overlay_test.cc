#include "storage/overlay.h"

#include "base/file.h"
#include "linux/mountinfo.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::storage {
namespace {

using test::IsError;
using testing::_;
using testing::HasSubstr;

std::string Directories(const std::string& data) {
  std::string text;
  for (const OverlayDirectory& directory : OverlayDirectories(data))
    text += fmt::format("{}:[{}] ", directory.option, directory.path);
  return text;
}

TEST(OverlayDirectoriesTest, AreReadAsOverlayfsDoes) {
  EXPECT_EQ(Directories(""), "");
  EXPECT_EQ(Directories("index=off,lowerdir=/a:/b,upperdir=/u,workdir=/w,userxattr"),
            "lowerdir:[/a] lowerdir:[/b] upperdir:[/u] workdir:[/w] ");
  EXPECT_EQ(Directories(R"(lowerdir=/a\:b\\:/c\,d::/data,upperdir=/u\:v)"),
            R"(lowerdir:[/a:b\] lowerdir:[/c,d] lowerdir:[/data] upperdir:[/u:v] )");
  EXPECT_EQ(Directories(R"(context="a:b,c",workdir=/w\)"), R"(workdir:[/w\] )");
}

class MountOverlayTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    LeakCheckedTest::SetUp();
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const char* name : {"lower:1", "upper", "work", "place"}) ASSERT_OK(MakeDirectories(Path(name)));
    ASSERT_OK(WriteFileAtomic(Path("lower:1/file"), "lower"));
    data_ = fmt::format("lowerdir={0}/lower\\:1,upperdir={0}/upper,workdir={0}/work", directory_.path());
  }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  TempDir directory_ = std::move(*TempDir::Create());
  std::string data_;
};

TEST_F(MountOverlayTest, IsSeenNowhere) {
  ASSERT_OK_AND_ASSIGN(const auto own, linux::NamespaceFd::OfProcess(0, CLONE_NEWNS));
  for (const int name_space : {-1, own.get()}) {
    const size_t before = linux::ReadMountInfo()->size();
    ASSERT_OK_AND_ASSIGN(const UniqueFd overlay,
                         MountOverlay({.flags = MS_NOSUID, .data = data_}, name_space, Path("place")));
    EXPECT_EQ(linux::ReadMountInfo()->size(), before);
    ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(linux::FdPath(overlay.get()) + "/file"));
    EXPECT_EQ(text, "lower");
    ASSERT_OK(WriteFileAtomic(linux::FdPath(overlay.get()) + "/new", "new"));
    EXPECT_EQ(linux::MountFlagsAt(overlay.get()).value_or(0), MS_NOSUID | MS_RELATIME);
  }
  EXPECT_TRUE(PathExists(Path("upper/new")));
  EXPECT_FALSE(PathExists(Path("lower:1/new")));
}

TEST_F(MountOverlayTest, OptionsMayBeLong) {
  std::string layers;
  for (int i = 0; i < 20; ++i) {
    const std::string layer = Path(std::string(100, 'l') + std::to_string(i));
    ASSERT_OK(MakeDirectories(layer));
    layers += layer + ":";
  }
  EXPECT_OK(MountOverlay({.flags = 0, .data = fmt::format("lowerdir={}{}", layers, Path("upper"))}, -1,
                         Path("place")));
}

TEST_F(MountOverlayTest, FailuresTellTheOptions) {
  EXPECT_THAT(MountOverlay({.flags = 0, .data = "lowerdir=/nosuch:/"}, -1, Path("place")),
              IsError(_, "mount overlay 'lowerdir=/nosuch:/': No such file or directory"));
  EXPECT_THAT(MountOverlay({.flags = 0, .data = data_ + ",nosuch=1"}, -1, Path("place")),
              IsError(_, HasSubstr("nosuch=1': Invalid argument")));
}

}  // namespace
}  // namespace kata::storage
