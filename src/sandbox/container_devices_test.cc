#include "sandbox/container_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsError;
using testing::_;
using testing::HasSubstr;

Result<HostDisk> Probe(int64_t major, int64_t minor) {
  if (major != 8) return MakeError(Code::kNotFound, "no {}:{}", major, minor);
  return HostDisk{.node = fmt::format("/dev/sd{}", minor), .read_only = minor == 1};
}

oci::Linux With(std::vector<oci::Device> devices, std::vector<oci::DeviceRule> rules) {
  oci::Linux linux;
  linux.devices = std::move(devices);
  linux.resources.emplace();
  linux.resources->devices = std::move(rules);
  return linux;
}

const oci::DeviceRule kDenyAll{.allow = false, .type = "a", .major = {}, .minor = {}, .access = "rwm"};
const oci::DeviceRule kAllowAll{.allow = true, .type = "a", .major = {}, .minor = {}, .access = "rwm"};

oci::Device Device(std::string path, std::string type, int64_t major, int64_t minor) {
  return {std::move(path), std::move(type), major, minor, {}, {}, {}};
}

TEST(PlanDevices, PassesBlockDevicesAsDisks) {
  const oci::DeviceRule read_only{.allow = true, .type = "b", .major = 8, .minor = 2, .access = "rm"};
  ASSERT_OK_AND_ASSIGN(const DevicePlan plan,
                       PlanDevices(With({Device("/dev/a", "b", 8, 0), Device("/dev/b", "b", 8, 1),
                                         Device("/dev/c", "b", 8, 2)},
                                        {kDenyAll, read_only}),
                                   Probe));
  EXPECT_EQ(plan.devices.size(), 3u);
  ASSERT_EQ(plan.disks.size(), 3u);
  EXPECT_EQ(plan.disks[0].container_path, "/dev/a");
  EXPECT_EQ(plan.disks[0].host.node, "/dev/sd0");
  EXPECT_FALSE(plan.disks[0].host.read_only);
  EXPECT_TRUE(plan.disks[1].host.read_only);
  EXPECT_TRUE(plan.disks[2].host.read_only);
}

TEST(PlanDevices, TakesNoMoreDisksThanThereArePortsFor) {
  std::vector<oci::Device> devices;
  for (int64_t minor = 0; minor < 12; ++minor) {
    devices.push_back(Device(fmt::format("/dev/disk{}", minor), "b", 8, minor));
  }
  EXPECT_OK(PlanDevices(With(devices, {kDenyAll}), Probe));
  devices.push_back(Device("/dev/more", "b", 8, 12));
  EXPECT_THAT(PlanDevices(With(devices, {kDenyAll}), Probe),
              IsError(Code::kInvalidArgument,
                      "device '/dev/more': a virtual machine takes 12 block devices at most"));
}

TEST(PlanDevices, LeavesToTheGuestWhatItHasItself) {
  ASSERT_OK_AND_ASSIGN(const DevicePlan plan,
                       PlanDevices(With({Device("/dev/mine", "c", 1, 5), Device("/dev/fuse", "u", 10, 229),
                                         Device("/dev/fifo", "p", 0, 0)},
                                        {kDenyAll}),
                                   Probe));
  EXPECT_EQ(plan.devices.size(), 3u);
  EXPECT_TRUE(plan.disks.empty());
}

TEST(PlanDevices, NamesWhatCannotBePassed) {
  EXPECT_THAT(PlanDevices(With({Device("/dev/snd/timer", "c", 116, 33)}, {kDenyAll}), Probe),
              IsError(Code::kInvalidArgument, HasSubstr("device '/dev/snd/timer': a character device")));
  EXPECT_THAT(PlanDevices(With({Device("/dev/gone", "b", 9, 0)}, {kDenyAll}), Probe),
              IsError(_, HasSubstr("device '/dev/gone': no 9:0")));
}

TEST(PlanDevices, APrivilegedContainerGetsNoDevicesOfTheHost) {
  ASSERT_OK_AND_ASSIGN(
      const DevicePlan plan,
      PlanDevices(With({Device("/dev/sda", "b", 8, 0), Device("/dev/snd/timer", "c", 116, 33),
                        Device("/dev/null", "c", 1, 3), Device("/dev/loop0", "b", 7, 0)},
                       {kDenyAll, kAllowAll}),
                  Probe));
  ASSERT_EQ(plan.devices.size(), 2u);
  EXPECT_EQ(plan.devices[0].path, "/dev/null");
  EXPECT_EQ(plan.devices[1].path, "/dev/loop0");
  EXPECT_TRUE(plan.disks.empty());
}

}  // namespace
}  // namespace kata::sandbox
