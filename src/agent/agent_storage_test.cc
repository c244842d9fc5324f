// Storages, devices, hooks and diagnostics from end to end. Disks are loop devices of this machine.
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "agent/agent_fixture_test.h"
#include "agent/guest_program.h"

namespace kata::agent {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::HasSubstr;

std::string RunProgram(const std::string& name, const std::vector<std::string>& args) {
  const Result<std::string> path = FindGuestProgram(name);
  EXPECT_OK(path);
  if (!path) return {};
  Result<std::string> output =
      RunGuestProgram({*path, args, {}, {}}, Deadline::After(std::chrono::seconds(120)));
  EXPECT_OK(output);
  std::string text = output.value_or(std::string());
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

class AgentStorageTest : public AgentTest {
 protected:
  void TearDown() override {
    AgentTest::TearDown();
    if (!loop_node_.empty()) RunProgram("losetup", {"--detach", loop_node_});
  }
  // An ext4 image as a disk; false where the machine has no loop devices or no mkfs.
  bool MakeDisk() {
    if (!PathExists("/dev/loop-control") || !FindGuestProgram("mkfs.ext4")) return false;
    const std::string image = directory_->path() + "/disk";
    RunProgram("truncate", {"--size=16M", image});
    RunProgram("mkfs.ext4", {"-q", "-F", image});
    loop_node_ = RunProgram("losetup", {"--show", "--find", image});
    return !loop_node_.empty();
  }
  grpc::CreateContainerRequest WithMount(const std::string& id, const std::string& command,
                                         const std::string& source, const std::string& destination) {
    grpc::CreateContainerRequest request = ShellRequest(id, command);
    grpc::Mount& mount = *request.mutable_oci()->add_mounts();
    mount.set_destination(destination);
    mount.set_source(source);
    mount.set_type("bind");
    mount.add_options("rbind");
    return request;
  }
  // Runs a container to its end and returns what it wrote.
  std::string RunToEnd(const grpc::CreateContainerRequest& request) {
    const std::string& id = request.container_id();
    EXPECT_OK(Create(request));
    EXPECT_OK(Call("StartContainer", For<grpc::StartContainerRequest>(id)));
    const std::string output =
        ReadAll("ReadStdout", id, id).value_or("error") + ReadAll("ReadStderr", id, id).value_or("error");
    EXPECT_OK(Wait(id, id));
    return output;
  }

  std::string loop_node_;
};

grpc::Storage MakeStorage(const std::string& driver, const std::string& source,
                          const std::string& mount_point) {
  grpc::Storage storage;
  storage.set_driver(driver);
  storage.set_source(source);
  storage.set_mount_point(mount_point);
  return storage;
}

constexpr char kVolume[] = "/run/kata-containers/sandbox/storage/v1";

TEST_F(AgentStorageTest, MountsADiskForAGroup) {
  if (!MakeDisk()) GTEST_SKIP() << "needs loop devices and mkfs.ext4";
  grpc::CreateContainerRequest request = WithMount(
      "c1", "echo data > /v/file; busybox stat -c '%g %a' /v /v/lost+found; cat /v/file", kVolume, "/v");
  grpc::Storage& storage = *request.add_storages() = MakeStorage("blk", loop_node_, kVolume);
  storage.set_fstype("ext4");
  storage.mutable_fs_group()->set_group_id(4711);
  EXPECT_EQ(RunToEnd(request), "4711 2775\n4711 2770\ndata\n");

  grpc::VolumeStatsRequest stats;
  stats.set_volume_guest_path(kVolume);
  ASSERT_OK_AND_ASSIGN(const auto usage, Call<grpc::VolumeStatsResponse>("GetVolumeStats", stats));
  ASSERT_EQ(usage.usage_size(), 2);
  EXPECT_EQ(usage.usage(0).unit(), grpc::VolumeUsage::BYTES);
  EXPECT_GT(usage.usage(0).total(), 8u << 20);
  EXPECT_LT(usage.usage(0).total(), 17u << 20);
  EXPECT_GT(usage.usage(1).used(), 10u);
  ASSERT_OK(Remove("c1"));
  stats.set_volume_guest_path("/nonexistent");
  EXPECT_THAT(Call<grpc::VolumeStatsResponse>("GetVolumeStats", stats), IsErrorCode(Code::kNotFound));
}

TEST_F(AgentStorageTest, GivesADiskToAContainer) {
  if (!MakeDisk()) GTEST_SKIP() << "needs loop devices and mkfs.ext4";
  struct stat info{};
  ASSERT_EQ(stat(loop_node_.c_str(), &info), 0);
  // The host's numbers are those of another device.
  grpc::CreateContainerRequest request = ShellRequest(
      "c1", "busybox stat -c '%t:%T' /dev/xvda; head -c 1082 /dev/xvda | busybox tail -c 2 | busybox xxd -p");
  grpc::LinuxDevice& entry = *request.mutable_oci()->mutable_linux()->add_devices();
  entry.set_path("/dev/xvda");
  entry.set_type("b");
  entry.set_major(1);
  entry.set_minor(3);
  grpc::Device& device = *request.add_devices();
  device.set_type("mmioblk");
  device.set_vm_path(loop_node_);
  device.set_container_path("/dev/xvda");
  const auto major = static_cast<unsigned>(info.st_rdev >> 8 & 0xfff);
  const auto minor = static_cast<unsigned>(info.st_rdev & 0xff);
  // 53ef: the magic number of ext4, 56 bytes into the superblock at 1024.
  EXPECT_EQ(RunToEnd(request), fmt::format("{:x}:{:x}\n53ef\n", major, minor));
  ASSERT_OK(Remove("c1"));
}

TEST_F(AgentStorageTest, SaysWhichDiskDidNotAppear) {
  grpc::CreateContainerRequest request = ShellRequest("c1", "true");
  *request.add_storages() = MakeStorage("blk", "1e/1f", kVolume);
  EXPECT_THAT(Create(request),
              IsError(Code::kDeadlineExceeded, HasSubstr("block device '1e/1f' did not appear")));
  // Nothing is left of it.
  *request.mutable_storages(0) = MakeStorage("blk", "nonsense", kVolume);
  EXPECT_THAT(Create(request), IsErrorCode(Code::kInvalidArgument));
  request.clear_storages();
  EXPECT_OK(Create(request));
  EXPECT_OK(Remove("c1"));
}

TEST_F(AgentStorageTest, WritableOverlay) {
  ASSERT_OK(MakeDirectories(directory_->path() + "/lower"));
  ASSERT_OK(WriteFileAtomic(directory_->path() + "/lower/below", "below\n"));
  grpc::CreateContainerRequest request = WithMount(
      "c1", "cat /o/below; echo changed > /o/below; cat /o/below", "/run/kata-containers/c1/layers", "/o");
  grpc::Storage& storage = *request.add_storages() =
      MakeStorage("overlayfs", "overlay", "/run/kata-containers/c1/layers");
  storage.add_options("lowerdir=" + directory_->path() + "/lower");
  storage.add_options("io.katacontainers.fs-opt.overlay-rw");
  storage.add_driver_options("io.katacontainers.volume.overlayfs.create_directory=/run/made");
  EXPECT_EQ(RunToEnd(request), "below\nchanged\n");
  EXPECT_EQ(ReadFile(directory_->path() + "/lower/below").value_or("error"), "below\n");
  ASSERT_OK(Remove("c1"));
}

TEST_F(AgentStorageTest, GrowsAnEphemeralMount) {
  const std::string path = "/run/kata-containers/sandbox/ephemeral/cache";
  grpc::CreateContainerRequest request = WithMount(
      "c1", "busybox df -k /e | busybox tail -n 1; cat; busybox df -k /e | busybox tail -n 1", path, "/e");
  grpc::Storage& storage = *request.add_storages() = MakeStorage("ephemeral", "tmpfs", path);
  storage.set_fstype("tmpfs");
  storage.add_options("size=4M");
  storage.add_options("nosuid");
  ASSERT_OK(Create(request));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  ASSERT_OK_AND_ASSIGN(const std::string before, ReadUntil("c1", "c1", "\n"));
  EXPECT_THAT(before, HasSubstr(" 4096 "));
  grpc::UpdateEphemeralMountsRequest update;
  *update.add_storages() = storage;
  update.mutable_storages(0)->set_options(0, "size=8M");
  ASSERT_OK(Call("UpdateEphemeralMounts", update));
  ASSERT_OK(CloseStdin("c1", "c1"));
  EXPECT_THAT(ReadAll("ReadStdout", "c1", "c1").value_or("error"), HasSubstr(" 8192 "));
  ASSERT_OK(Remove("c1"));
  EXPECT_THAT(Call("UpdateEphemeralMounts", update), IsErrorCode(Code::kNotFound));
  update.mutable_storages(0)->set_driver("local");
  EXPECT_THAT(Call("UpdateEphemeralMounts", update), IsErrorCode(Code::kInvalidArgument));
}

TEST_F(AgentStorageTest, TellsTheTerminationLog) {
  const std::string log = directory_->path() + "/termination";
  ASSERT_OK(WriteFileAtomic(log, ""));
  EXPECT_EQ(RunToEnd(WithMount("c1", "printf gone > /dev/termination-log", log, "/dev/termination-log")), "");
  grpc::GetDiagnosticDataRequest request;
  request.set_container_id("c1");
  request.set_log_type("termination_log");
  ASSERT_OK_AND_ASSIGN(const auto response,
                       Call<grpc::GetDiagnosticDataResponse>("GetDiagnosticData", request));
  EXPECT_EQ(response.data(), "gone");
  request.set_log_type("core");
  EXPECT_THAT(Call<grpc::GetDiagnosticDataResponse>("GetDiagnosticData", request),
              IsErrorCode(Code::kInvalidArgument));
  ASSERT_OK(Remove("c1"));
}

TEST_F(AgentStorageTest, VisitsStaleMountsAndTellsMetrics) {
  EXPECT_OK(Call("RemoveStaleVirtiofsShareMounts", grpc::RemoveStaleVirtiofsShareMountsRequest()));
  ASSERT_OK(Call<grpc::Metrics>("GetMetrics", grpc::GetMetricsRequest()));
  ASSERT_OK_AND_ASSIGN(const auto metrics, Call<grpc::Metrics>("GetMetrics", grpc::GetMetricsRequest()));
  EXPECT_THAT(metrics.metrics(), HasSubstr("\nkata_agent_scrape_count 2\n"));
  EXPECT_THAT(metrics.metrics(), HasSubstr("kata_guest_load"));
}

TEST_F(AgentStorageTest, RunsGuestHooks) {
  const std::string hooks = directory_->path() + "/hooks";
  const std::string seen = directory_->path() + "/seen";
  for (const char* kind : {"prestart", "poststart", "poststop"}) {
    ASSERT_OK(MakeDirectories(hooks + "/" + kind));
    ASSERT_OK(WriteFileAtomic(
        hooks + "/" + kind + "/10-note",
        fmt::format("#!/bin/sh\n(echo {}; cat) | tr -d ' \\n' >> {}; echo >> {}\n", kind, seen, seen), 0755));
  }
  ASSERT_OK(WriteFileAtomic(hooks + "/prestart/20-data", "not executable", 0644));
  ASSERT_OK(Call("DestroySandbox", grpc::DestroySandboxRequest()));
  grpc::CreateSandboxRequest sandbox;
  sandbox.set_guest_hook_path(hooks);
  ASSERT_OK(Call("CreateSandbox", sandbox));
  EXPECT_EQ(RunToEnd(ShellRequest("c1", "echo hello")), "hello\n");
  ASSERT_OK(Remove("c1"));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(seen));
  EXPECT_THAT(text, testing::ContainsRegex("^prestart.*\"id\":\"c1\",\"status\":\"created\",\"pid\":[1-9].*\n"
                                           "poststart.*\"status\":\"running\".*\n"
                                           "poststop.*\"status\":\"stopped\".*\n$"));
  // A prestart hook that fails keeps the container from coming into being.
  ASSERT_OK(WriteFileAtomic(hooks + "/prestart/15-fail", "#!/bin/sh\necho no way >&2\nexit 7\n", 0755));
  ASSERT_OK(Call("DestroySandbox", grpc::DestroySandboxRequest()));
  ASSERT_OK(Call("CreateSandbox", sandbox));
  EXPECT_THAT(Create(ShellRequest("c2", "true")),
              IsError(Code::kInternal, HasSubstr("15-fail' failed with exit status 7: no way")));
}

}  // namespace
}  // namespace kata::agent
