#include "sandbox/machine_sizer.h"

#include <gtest/gtest.h>

namespace kata::sandbox {
namespace {

oci::Resources LimitedTo(int64_t memory_bytes) {
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->limit = memory_bytes;
  return resources;
}

TEST(MachineSizer, AContainerThatIsGoneIsNotCountedAgain) {
  config::Config config;
  config.hypervisor.default_max_vcpus = 8;
  config.hypervisor.default_max_memory_mib = 8192;
  MachineSizer sizer(config, nullptr);
  sizer.Set("a", LimitedTo(int64_t{256} << 20));
  const MachineSize alone = sizer.wanted();
  sizer.Set("b", LimitedTo(int64_t{512} << 20));
  sizer.Change("b", LimitedTo(int64_t{1024} << 20));
  EXPECT_EQ(sizer.wanted().memory_mib, alone.memory_mib + 1024);
  sizer.Forget("b");
  // What an update does that was under way.
  sizer.Change("b", LimitedTo(int64_t{512} << 20));
  EXPECT_EQ(sizer.wanted(), alone);
}

}  // namespace
}  // namespace kata::sandbox
