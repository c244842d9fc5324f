#include "agent/cpu_memory.h"

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;

class CpuMemoryTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    sys_ = std::make_unique<TempDir>(std::move(directory));
  }
  std::string Path(const std::string& name) const { return sys_->path() + "/devices/system/" + name; }
  void Write(const std::string& directory, const std::string& file, const std::string& text) {
    ASSERT_OK(MakeDirectories(Path(directory)));
    ASSERT_OK(WriteFileAtomic(Path(directory) + "/" + file, text));
  }
  std::string Read(const std::string& name) const { return ReadFile(Path(name)).value_or("error"); }
  static Deadline Now() { return Deadline::After(std::chrono::seconds(0)); }

  std::unique_ptr<TempDir> sys_;
};

TEST_F(CpuMemoryTest, BringsAsManyCpusOnlineAsAsked) {
  ASSERT_OK(MakeDirectories(Path("cpu/cpu0")));  // the boot CPU has no such file
  Write("cpu/cpu1", "online", "1\n");
  Write("cpu/cpu2", "online", "0\n");
  Write("cpu/cpu3", "online", "0\n");
  Write("cpu/cpufreq", "online", "0\n");  // not a CPU
  ASSERT_OK(OnlineCpus(1, Now(), sys_->path()));
  EXPECT_EQ(Read("cpu/cpu2/online")[0], '1');
  EXPECT_EQ(Read("cpu/cpu3/online")[0], '0');
  EXPECT_EQ(Read("cpu/cpufreq/online")[0], '0');
  EXPECT_THAT(OnlineCpus(2, Now(), sys_->path()), IsError(Code::kDeadlineExceeded, HasSubstr("1 of 2 CPUs")));
  EXPECT_EQ(Read("cpu/cpu3/online")[0], '1') << "what is there comes online in any case";
}

TEST_F(CpuMemoryTest, BringsMemoryOnline) {
  ASSERT_OK(OnlineMemory(sys_->path())) << "no memory hotplug, nothing to do";
  Write("memory/memory0", "state", "online\n");
  Write("memory/memory32", "state", "offline\n");
  ASSERT_OK(OnlineMemory(sys_->path()));
  EXPECT_TRUE(Read("memory/memory32/state").starts_with("online"));
}

TEST_F(CpuMemoryTest, ProbesMemory) {
  EXPECT_THAT(ProbeMemory({4096}, sys_->path()), IsErrorCode(Code::kUnimplemented));
  Write("memory", "probe", "");
  ASSERT_OK(ProbeMemory({0x140000000}, sys_->path()));
  EXPECT_EQ(Read("memory/probe"), "0x140000000");
}

}  // namespace
}  // namespace kata::agent
