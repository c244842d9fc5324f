#include "linux/knob_changes.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::linux {
namespace {

TEST(ValueBefore, IsTheContentOrTheDevicesLine) {
  EXPECT_EQ(ValueBefore("memory.max", "1000\n", "2000"), "1000");
  EXPECT_EQ(ValueBefore("cpuset.cpus", "\n", "0-1"), "\n");
  EXPECT_EQ(ValueBefore("cpu.max", "max 100000\n", "5000 10000"), "max 100000");
  const char* devices = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=3 riops=max wiops=max\n";
  EXPECT_EQ(ValueBefore("io.max", devices, "8:16 wbps=9"), "8:16 rbps=2 wbps=3 riops=max wiops=max");
  EXPECT_EQ(ValueBefore("io.max", devices, "8:32 rbps=9 wiops=1"), "8:32 rbps=max wiops=max");
  EXPECT_EQ(ValueBefore("io.weight", "default 100\n8:0 7\n", "default 200"), "default 100");
  EXPECT_EQ(ValueBefore("io.weight", "default 100\n", "8:0 200"), "8:0 default");
  EXPECT_EQ(ValueBefore("/x/blkio.throttle.read_bps_device", "", "8:0 1024"), "8:0 0");
}

class KnobChangesTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_.emplace(std::move(directory));
    for (const char* file : {"/first", "/second", "/cpu.weight", "/cpu.idle"}) Set(file, "1\n");
  }
  void Set(const std::string& file, const std::string& content) {
    ASSERT_OK(WriteFileAtomic(directory_->path() + file, content));
  }
  std::string Path(const std::string& file) const { return directory_->path() + file; }
  std::string Get(const std::string& file) const { return *ReadFile(Path(file)); }

  std::optional<TempDir> directory_;
};

// A plain file keeps what lies behind the bytes that were written: here the line end.
TEST_F(KnobChangesTest, AreTakenBackUnlessKept) {
  {
    KnobChanges changes;
    ASSERT_OK(changes.Write(AT_FDCWD, Path("/first"), "2"));
    ASSERT_OK(changes.Write(AT_FDCWD, Path("/first"), "3"));
    ASSERT_OK(changes.Write(AT_FDCWD, Path("/second"), "4"));
    EXPECT_THAT(changes.Write(AT_FDCWD, Path("/nosuch"), "5"), test::IsErrorCode(Code::kNotFound));
    EXPECT_EQ(Get("/first"), "3\n");
  }
  EXPECT_EQ(Get("/first"), "1\n");
  EXPECT_EQ(Get("/second"), "1\n");
  {
    KnobChanges changes;
    ASSERT_OK(changes.Write(AT_FDCWD, Path("/first"), "2"));
    KnobChanges moved = std::move(changes);
    moved.Keep();
  }
  EXPECT_EQ(Get("/first"), "2\n");
}

TEST_F(KnobChangesTest, TheWeightComesBackWithTheEndOfIdleness) {
  Set("/cpu.idle", "0\n");
  KnobChanges changes;
  ASSERT_OK(changes.Write(AT_FDCWD, Path("/cpu.idle"), "1"));
  Set("/cpu.weight", "0\n");  // as the kernel does
  changes.Undo();
  EXPECT_EQ(Get("/cpu.weight"), "1\n");
  EXPECT_EQ(Get("/cpu.idle"), "0\n");
}

TEST_F(KnobChangesTest, AnIdleGroupHasNoWeightToComeBack) {
  Set("/cpu.weight", "0\n");  // no file of the kernel's takes that
  KnobChanges changes;
  ASSERT_OK(changes.Write(AT_FDCWD, Path("/cpu.idle"), "0"));
  Set("/cpu.weight", "100\n");
  changes.Undo();
  EXPECT_EQ(Get("/cpu.weight"), "100\n");
  EXPECT_EQ(Get("/cpu.idle"), "1\n");
}

}  // namespace
}  // namespace kata::linux
