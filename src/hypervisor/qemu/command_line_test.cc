// Plans of the QEMU driver, compared with the files in testdata/. KATA_UPDATE_GOLDEN=1 rewrites the files.
#include <algorithm>
#include <cstdlib>
#include <functional>

#include "base/file.h"
#include "hypervisor/qemu/driver.h"
#include "support/result_matchers.h"

namespace kata::hypervisor::qemu {
namespace {

using test::IsError;
using testing::HasSubstr;

VmSpec SmallSpec() {
  VmSpec spec;
  spec.id = "sb1";
  spec.vmm_path = "/usr/bin/qemu-system-x86_64";
  spec.acceleration = Acceleration::kTcg;
  spec.memory_mib = 128;
  spec.max_memory_mib = 128;
  spec.kernel = "/usr/share/kata-containers/vmlinux";
  spec.initrd = "/usr/share/kata-containers/initrd.img";
  spec.kernel_parameters = {"panic=1", "quiet"};
  return spec;
}

SerialPortDevice AgentPort() {
  return {.id = "agent", .name = "agent.channel.0", .socket_fd = 70};
}

// One argument a line, options with their values; then what the VMM inherits.
std::string Render(const LaunchPlan& plan) {
  std::string text = plan.program;
  for (const std::string& arg : plan.args) text += (arg.starts_with('-') ? "\n" : " ") + arg;
  text += fmt::format("\n\ncontrol: {}\nconsole: {}\n", plan.control_fd, plan.console_fd);
  for (const auto& [child_fd, fd] : plan.inherited_fds) text += fmt::format("{}: {}\n", child_fd, fd);
  return text;
}

void ExpectGolden(const VmSpec& spec, const std::string& name) {
  const std::string directory = std::string(__FILE__).substr(0, std::string(__FILE__).rfind('/'));
  const std::string path = directory + "/testdata/" + name + ".golden";
  ASSERT_OK_AND_ASSIGN(const LaunchPlan plan, QemuDriver().Plan(spec));
  if (getenv("KATA_UPDATE_GOLDEN") != nullptr) {
    ASSERT_OK(WriteFileAtomic(path, Render(plan)));
  }
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile(path));
  EXPECT_EQ(Render(plan), golden);
}

TEST(QemuPlanTest, Tcg) {
  ExpectGolden(SmallSpec(), "tcg");
}

TEST(QemuPlanTest, Kvm) {
  VmSpec spec = SmallSpec();
  spec.acceleration = Acceleration::kKvm;
  spec.cpu_features = "pmu=off";
  spec.machine_accelerators = "nvdimm=on";
  ExpectGolden(spec, "kvm");
}

TEST(QemuPlanTest, VirtioFsWithSerialChannel) {
  VmSpec spec = SmallSpec();
  spec.shared_memory = true;
  spec.devices = {AgentPort(), VirtioFsDevice{.id = "share", .tag = "kataShared", .socket_fd = 71}};
  ExpectGolden(spec, "virtio_fs");
}

TEST(QemuPlanTest, Share9p) {
  VmSpec spec = SmallSpec();
  spec.devices = {AgentPort(),
                  Virtio9pDevice{.id = "share", .tag = "kataShared", .path = "/run/kata,1/shared"}};
  ExpectGolden(spec, "virtio_9p");
}

TEST(QemuPlanTest, Vsock) {
  VmSpec spec = SmallSpec();
  spec.devices = {VsockDevice{.id = "vsock", .guest_cid = 4711, .vhost_fd = 72}};
  ExpectGolden(spec, "vsock");
}

TEST(QemuPlanTest, NetworkCards) {
  VmSpec spec = SmallSpec();
  spec.hotplug_ports = 1;
  spec.devices = {
      AgentPort(), NetworkDevice{.id = "net0", .mac = "02:42:ac:11:00:02", .tap_fds = {80}},
      NetworkDevice{.id = "net1", .mac = "02:42:ac:12:00:02", .tap_fds = {81, 82}, .vhost_fds = {83, 84}}};
  ExpectGolden(spec, "network");
}

TEST(QemuPlanTest, BigWithImageAndDisks) {
  VmSpec spec = SmallSpec();
  spec.acceleration = Acceleration::kKvm;
  spec.vcpus = 4;
  spec.max_vcpus = 16;
  spec.memory_mib = 4096;
  spec.max_memory_mib = 4096;
  spec.hugepages = true;
  spec.prealloc_memory = true;
  spec.free_page_reporting = true;
  spec.initrd.clear();
  spec.image = "/usr/share/kata-containers/kata-containers.img";
  spec.image_type = "erofs";
  spec.firmware = "/usr/share/seabios/bios-256k.bin";
  spec.seccomp_sandbox = "on,obsolete=deny,spawn=deny,resourcecontrol=deny";
  spec.entropy_source.clear();
  spec.hotplug_ports = 2;
  spec.devices = {BlockDevice{.id = "disk1", .path = "/dev/mapper/vg-a", .is_device = true},
                  BlockDevice{.id = "disk2", .path = "/var/lib/b,c.img", .read_only = true}};
  ExpectGolden(spec, "big");
}

TEST(QemuPlanTest, SeveralProcessorsAreEmulatedByOneThread) {
  VmSpec spec = SmallSpec();
  spec.vcpus = spec.max_vcpus = 2;
  ASSERT_OK_AND_ASSIGN(const LaunchPlan plan, QemuDriver().Plan(spec));
  EXPECT_THAT(plan.args, testing::Contains("tcg,thread=single"));
}

TEST(QemuPlanTest, GrowsLater) {
  VmSpec spec = SmallSpec();
  spec.max_vcpus = 4;
  spec.max_memory_mib = 1024;
  spec.shared_memory = true;
  ExpectGolden(spec, "growing");
}

TEST(QemuPlanTest, UserParametersComeLast) {
  VmSpec spec = SmallSpec();
  spec.kernel_parameters = {"agent.log=debug", "console=ttyS0"};
  ASSERT_OK_AND_ASSIGN(const LaunchPlan plan, QemuDriver().Plan(spec));
  const auto append = std::find(plan.args.begin(), plan.args.end(), "-append");
  ASSERT_NE(append, plan.args.end());
  EXPECT_THAT(*(append + 1), testing::EndsWith(" agent.log=debug console=ttyS0"));
}

TEST(QemuPlanTest, UuidDependsOnTheIdOnly) {
  const auto uuid = [](const std::string& id) {
    VmSpec spec = SmallSpec();
    spec.id = id;
    const Result<LaunchPlan> plan = QemuDriver().Plan(spec);
    return *(std::find(plan->args.begin(), plan->args.end(), "-uuid") + 1);
  };
  EXPECT_EQ(uuid("a"), uuid("a"));
  EXPECT_NE(uuid("a"), uuid("b"));
  EXPECT_THAT(uuid("a"),
              testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

struct BadSpec {
  const char* name;
  std::function<void(VmSpec&)> spoil;
  const char* message;
};

class QemuPlanRefusalTest : public testing::TestWithParam<BadSpec> {};

TEST_P(QemuPlanRefusalTest, NamesTheMember) {
  VmSpec spec = SmallSpec();
  GetParam().spoil(spec);
  EXPECT_THAT(QemuDriver().Plan(spec), IsError(Code::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, QemuPlanRefusalTest,
    testing::Values(
        BadSpec{"NoId", [](VmSpec& s) { s.id.clear(); }, "id: is empty"},
        BadSpec{"RelativeVmm", [](VmSpec& s) { s.vmm_path = "qemu"; },
                "vmm_path: 'qemu' is not an absolute path"},
        BadSpec{"Machine", [](VmSpec& s) { s.machine_type = "microvm"; },
                "machine_type: 'microvm' is unknown"},
        BadSpec{"Auto", [](VmSpec& s) { s.acceleration = Acceleration::kAuto; }, "acceleration: "},
        BadSpec{"NoCpu", [](VmSpec& s) { s.vcpus = 0; }, "vcpus: must be at least 1"},
        BadSpec{"MoreCpusThanMax", [](VmSpec& s) { s.vcpus = 2; }, "vcpus: 2 is more than max_vcpus, 1"},
        BadSpec{"TooManyCpus", [](VmSpec& s) { s.max_vcpus = 241; },
                "max_vcpus: 241 is more than qemu's 240"},
        BadSpec{"MaxMemory", [](VmSpec& s) { s.max_memory_mib = 64; }, "max_memory_mib: 64 is less than"},
        BadSpec{"PluggedHugePages",
                [](VmSpec& s) {
                  s.max_memory_mib = 256;
                  s.hugepages = true;
                },
                "max_memory_mib: memory that is set aside"},
        BadSpec{"PartOfAUnit", [](VmSpec& s) { s.max_memory_mib = 129; },
                "max_memory_mib: what can be plugged is no multiple of 4 MiB"},
        BadSpec{"NoKernel", [](VmSpec& s) { s.kernel.clear(); }, "kernel: '' is not an absolute path"},
        BadSpec{"NoInitrd", [](VmSpec& s) { s.initrd.clear(); }, "neither an initrd nor an image"},
        BadSpec{"Both", [](VmSpec& s) { s.image = "/i"; }, "exclude each other"},
        BadSpec{"LongCommandLine", [](VmSpec& s) { s.kernel_parameters = {std::string(2048, 'x')}; },
                "kernel_parameters: the command line is "},
        BadSpec{"FsWithoutSharedMemory",
                [](VmSpec& s) { s.devices = {VirtioFsDevice{.id = "fs", .tag = "t", .socket_fd = 5}}; },
                "shared_memory: device 'fs' needs"},
        BadSpec{"Dax",
                [](VmSpec& s) {
                  s.devices = {VirtioFsDevice{.id = "fs", .tag = "t", .socket_fd = 5, .cache_size_mib = 8}};
                },
                "device 'fs': cache_size_mib"},
        BadSpec{"QueueSize",
                [](VmSpec& s) {
                  s.devices = {VirtioFsDevice{.id = "fs", .tag = "t", .socket_fd = 5, .queue_size = 1000}};
                },
                "device 'fs': queue_size: 1000"},
        BadSpec{"LongTag",
                [](VmSpec& s) {
                  s.devices = {Virtio9pDevice{.id = "p", .tag = std::string(32, 't'), .path = "/x"}};
                },
                "is not 1 to 31 bytes long"},
        BadSpec{"ClosedSocket", [](VmSpec& s) { s.devices = {SerialPortDevice{.id = "a", .name = "n"}}; },
                "device 'a': socket_fd: is not open"},
        BadSpec{"ReservedCid",
                [](VmSpec& s) { s.devices = {VsockDevice{.id = "v", .guest_cid = 2, .vhost_fd = 5}}; },
                "device 'v': guest_cid: 2 is reserved"},
        BadSpec{
            "BadMac",
            [](VmSpec& s) { s.devices = {NetworkDevice{.id = "n", .mac = "02:42:1,x=y", .tap_fds = {5}}}; },
            "device 'n': mac: '02:42:1,x=y' is no Ethernet address"},
        BadSpec{"NoTap",
                [](VmSpec& s) { s.devices = {NetworkDevice{.id = "n", .mac = "02:00:00:00:00:01"}}; },
                "device 'n': tap_fds: is empty"},
        BadSpec{"ClosedTap",
                [](VmSpec& s) {
                  s.devices = {NetworkDevice{.id = "n", .mac = "02:00:00:00:00:01", .tap_fds = {5, -1}}};
                },
                "device 'n': tap_fds: is not open"},
        BadSpec{"VhostForSomeQueues",
                [](VmSpec& s) {
                  s.devices = {NetworkDevice{
                      .id = "n", .mac = "02:00:00:00:00:01", .tap_fds = {5, 6}, .vhost_fds = {7}}};
                },
                "device 'n': vhost_fds: 1 for 2 queues"},
        BadSpec{"BadId", [](VmSpec& s) { s.devices = {BlockDevice{.id = "1,a", .path = "/x"}}; },
                "device '1,a': id: "},
        BadSpec{"TwiceTheSameId",
                [](VmSpec& s) {
                  s.devices = {BlockDevice{.id = "d", .path = "/x"}, BlockDevice{.id = "d", .path = "/y"}};
                },
                "devices: id 'd' is taken"},
        BadSpec{"OwnId", [](VmSpec& s) { s.devices = {BlockDevice{.id = "serial0", .path = "/x"}}; },
                "devices: id 'serial0' is taken"}),
    [](const auto& info) { return info.param.name; });

TEST(MakeDriverTest, KnowsQemuOnly) {
  ASSERT_OK_AND_ASSIGN(const auto driver, MakeDriver("qemu"));
  EXPECT_EQ(driver->name(), "qemu");
  EXPECT_THAT(MakeDriver("clh"),
              IsError(Code::kUnimplemented, "hypervisor 'clh' is not built in (built in: qemu)"));
}

}  // namespace
}  // namespace kata::hypervisor::qemu
