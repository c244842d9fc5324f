// Finding devices in a fabricated sysfs tree, and what they change in a specification.
#include "agent/device/devices.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "agent/device/pci_path.h"
#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::IsError;
using test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(PciPathTest, ReadsSlotsAndRootBuses) {
  using Slot = PciPath::Slot;
  ASSERT_OK_AND_ASSIGN(const PciPath path, PciPath::Parse("02/1f.7"));
  EXPECT_EQ(path.root_bus, 0u);
  EXPECT_THAT(path.slots, ElementsAre(Slot{2, 0}, Slot{0x1f, 7}));
  ASSERT_OK_AND_ASSIGN(const PciPath extra, PciPath::Parse("20/00/03"));
  EXPECT_EQ(extra.root_bus, 0x20u);
  EXPECT_THAT(extra.slots, ElementsAre(Slot{0, 0}, Slot{3, 0}));
  ASSERT_OK_AND_ASSIGN(const PciPath three, PciPath::Parse("01/02/03"));
  EXPECT_EQ(three.slots.size(), 3u);
  for (const char* text : {"", "/", "02/", "/02", "20", "02/20", "02.8", "02.", ".1", "xx", "0x2", "-1",
                           "02//03", "1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1"}) {
    EXPECT_THAT(PciPath::Parse(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

class DeviceTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    sys_ = std::make_unique<TempDir>(std::move(directory));
    finder_ = std::make_unique<DeviceFinder>(sys_->path(), sys_->path() + "/dev");
  }
  void MakeDirectory(const std::string& path) { ASSERT_OK(MakeDirectories(sys_->path() + path)); }
  // A block device in `directory`, as the kernel shows it there and in its class.
  void MakeBlock(const std::string& directory, const std::string& name, const std::string& number) {
    MakeDirectory(directory + "/" + name);
    MakeDirectory("/class/block/" + name);
    ASSERT_OK(WriteFileAtomic(sys_->path() + "/class/block/" + name + "/dev", number + "\n"));
    MakeNode(name);
  }
  void MakeNode(std::string name) {
    std::replace(name.begin(), name.end(), '!', '/');
    const std::string path = sys_->path() + "/dev/" + name;
    ASSERT_OK(MakeDirectories(path.substr(0, path.rfind('/'))));
    ASSERT_OK(WriteFileAtomic(path, ""));
  }
  static Deadline Now() { return Deadline::After(milliseconds(0)); }

  std::unique_ptr<TempDir> sys_;
  std::unique_ptr<DeviceFinder> finder_;
};

TEST_F(DeviceTest, FindsADiskBehindABridge) {
  EXPECT_THAT(finder_->BlockByPciPath("02/03", Now()),
              IsError(Code::kDeadlineExceeded, HasSubstr("block device '02/03' did not appear")));
  const std::string bridge = "/devices/pci0000:00/0000:00:02.0";
  MakeDirectory(bridge);
  EXPECT_THAT(finder_->BlockByPciPath("02/03", Now()), IsErrorCode(Code::kDeadlineExceeded));
  MakeDirectory(bridge + "/pci_bus/0000:01");
  MakeDirectory(bridge + "/0000:01:03.0/virtio5/block");
  EXPECT_THAT(finder_->BlockByPciPath("02/03", Now()), IsErrorCode(Code::kDeadlineExceeded));
  MakeBlock(bridge + "/0000:01:03.0/virtio5/block", "vdb", "253:16");
  ASSERT_OK_AND_ASSIGN(const BlockDevice device, finder_->BlockByPciPath("02/03", Now()));
  EXPECT_EQ(device.node, "/dev/vdb");
  EXPECT_EQ(device.major, 253u);
  EXPECT_EQ(device.minor, 16u);
  EXPECT_EQ(finder_->PciDevice("02/03", Now()).value_or("error"), "0000:01:03.0");
  EXPECT_THAT(finder_->PciDevice("02/04", Now()), IsErrorCode(Code::kDeadlineExceeded));
  // Directly on a root bus, also on one of its own.
  MakeBlock("/devices/pci0000:00/0000:00:05.0/virtio1/block", "vda", "253:0");
  EXPECT_OK(finder_->BlockByPciPath("05", Now()));
  MakeDirectory("/devices/pci0000:20/0000:20:00.0/pci_bus/0000:21");
  MakeBlock("/devices/pci0000:20/0000:20:00.0/0000:21:03.0/virtio9/block", "vdc", "253:32");
  EXPECT_EQ(finder_->BlockByPciPath("20/00/03", Now()).value().node, "/dev/vdc");
}

TEST_F(DeviceTest, ScansForAScsiDisk) {
  MakeDirectory("/class/scsi_host/host0");
  const std::string scan = sys_->path() + "/class/scsi_host/host0/scan";
  ASSERT_OK(WriteFileAtomic(scan, ""));
  EXPECT_THAT(finder_->BlockByScsiAddress("1:2", Now()), IsErrorCode(Code::kDeadlineExceeded));
  EXPECT_EQ(ReadFile(scan).value_or("error"), "0 1 2");
  MakeBlock("/class/scsi_device/0:0:11:2/device/block", "sdx", "8:240");
  EXPECT_THAT(finder_->BlockByScsiAddress("1:2", Now()), IsErrorCode(Code::kDeadlineExceeded));
  MakeBlock("/class/scsi_device/0:0:1:2/device/block", "sda", "8:0");
  EXPECT_EQ(finder_->BlockByScsiAddress("1:2", Now()).value().node, "/dev/sda");
  for (const char* address : {"", "1", "1:", ":1", "1:2:3", "a:b", "1:2 ", "123456:1"}) {
    EXPECT_THAT(finder_->BlockByScsiAddress(address, Now()), IsErrorCode(Code::kInvalidArgument)) << address;
  }
}

TEST_F(DeviceTest, FindsADiskByNode) {
  MakeBlock("/devices/x", "pmem1", "259:3");
  EXPECT_EQ(finder_->BlockByNode("/dev/pmem1", Now()).value().minor, 3u);
  MakeBlock("/devices/x", "cciss!c0d0", "104:0");
  EXPECT_EQ(finder_->BlockByNode("/dev/cciss/c0d0", Now()).value().node, "/dev/cciss/c0d0");
  // In sysfs already, but not to be opened yet.
  ASSERT_EQ(unlink((sys_->path() + "/dev/pmem1").c_str()), 0);
  EXPECT_THAT(finder_->BlockByNode("/dev/pmem1", Now()), IsErrorCode(Code::kDeadlineExceeded));
  for (const char* node : {"", "vda", "/dev/", "/dev/../etc", "/dev//x", "/etc/passwd", "/dev/a/../b"}) {
    EXPECT_THAT(finder_->BlockByNode(node, Now()), IsErrorCode(Code::kInvalidArgument)) << node;
  }
}

grpc::Device MakeDevice(const std::string& type, const std::string& id, const std::string& vm_path,
                        const std::string& container_path) {
  grpc::Device device;
  device.set_type(type);
  device.set_id(id);
  device.set_vm_path(vm_path);
  device.set_container_path(container_path);
  return device;
}

TEST_F(DeviceTest, RewritesNumbersRulesAndAddresses) {
  // The host's number of one device is the guest's number of the other.
  MakeBlock("/devices/pci0000:00/0000:00:05.0/virtio1/block", "vda", "8:16");
  MakeBlock("/devices/x", "vdb", "8:32");
  oci::Spec spec;
  spec.linux.emplace();
  spec.linux->devices = {{"/dev/xvda", "b", 8, 0, {}, {}, {}}, {"/dev/xvdb", "b", 8, 16, {}, {}, {}}};
  spec.linux->resources.emplace();
  spec.linux->resources->devices = {
      {false, "a", {}, {}, "rwm"}, {true, "b", 8, 0, "rw"}, {true, "b", 8, 16, "r"}, {true, "c", 8, 16, "w"}};
  spec.process.emplace();
  spec.process->env = {"PCIDEVICE_NIC=0000:81:00.0,0000:82:00.0", "OTHER=0000:81:00.0"};

  google::protobuf::RepeatedPtrField<grpc::Device> devices;
  *devices.Add() = MakeDevice("blk", "05", "", "/dev/xvda");
  *devices.Add() = MakeDevice("mmioblk", "", "/dev/vdb", "/dev/xvdb");
  grpc::Device vfio = MakeDevice("vfio-pci-gk", "nic", "", "");
  vfio.add_options("0000:81:00.0=05");
  *devices.Add() = vfio;
  *devices.Add() = MakeDevice("mmioblk", "", "/dev/vdb", "");  // only wait for it
  ASSERT_OK(ApplyDevices(devices, *finder_, seconds(0), spec));
  EXPECT_EQ(spec.linux->devices[0].minor, 16);
  EXPECT_EQ(spec.linux->devices[1].minor, 32);
  const std::vector<oci::DeviceRule>& rules = spec.linux->resources->devices;
  EXPECT_FALSE(rules[0].major.has_value());
  EXPECT_EQ(rules[1].minor, 16);
  EXPECT_EQ(rules[2].minor, 32);
  EXPECT_EQ(rules[3].minor, 16) << "a character device has numbers of its own";
  EXPECT_THAT(spec.process->env,
              ElementsAre("PCIDEVICE_NIC=0000:00:05.0,0000:82:00.0", "OTHER=0000:81:00.0"));
}

TEST_F(DeviceTest, RefusesWhatItCannotServe) {
  oci::Spec spec;
  const auto apply = [&](const grpc::Device& device) {
    google::protobuf::RepeatedPtrField<grpc::Device> devices;
    *devices.Add() = device;
    return ApplyDevices(devices, *finder_, seconds(0), spec);
  };
  EXPECT_THAT(apply(MakeDevice("vfio-ap", "x", "", "/dev/vfio/1")),
              IsError(Code::kUnimplemented, HasSubstr("device '/dev/vfio/1' of type 'vfio-ap'")));
  EXPECT_THAT(apply(MakeDevice("blk", "05", "", "")), IsErrorCode(Code::kDeadlineExceeded));
  MakeBlock("/devices/x", "vdb", "8:32");
  EXPECT_THAT(apply(MakeDevice("mmioblk", "", "/dev/vdb", "/dev/xvdb")),
              IsError(Code::kInvalidArgument, HasSubstr("no device '/dev/xvdb'")));
}

}  // namespace
}  // namespace kata::agent
