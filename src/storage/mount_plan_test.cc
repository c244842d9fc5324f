#include "storage/mount_plan.h"

#include <map>

#include "base/file.h"
#include "support/result_matchers.h"

namespace kata::storage {
namespace {

using test::IsError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<SourceInfo> FakeProbe(const std::string& path) {
  static const std::map<std::string, SourceInfo> kFiles = {
      {"/data", {SourceKind::kDirectory}},
      {"/bundle/rel", {SourceKind::kDirectory}},
      {"/lower:1", {SourceKind::kDirectory}},
      {"/etc/hosts", {SourceKind::kRegularFile}},
      {"/run/docker.sock", {SourceKind::kSocket}},
      {"/run/fifo", {SourceKind::kFifo}},
      {"/srv/null", {SourceKind::kCharacterDevice}},
      {"/dev/sda", {SourceKind::kBlockDevice}},
      {"/dev/null", {SourceKind::kCharacterDevice}},
      {"/dev", {SourceKind::kDirectory}},
      {"/dev/shm", {SourceKind::kDirectory, 8u << 30}},
      {"/dev/shm/job", {SourceKind::kDirectory, 8u << 30}},
      {"/engine/shm", {SourceKind::kDirectory, 123 << 20}},
      {"/engine/endless", {SourceKind::kDirectory, 0}},
  };
  const auto file = kFiles.find(path);
  if (file == kFiles.end()) return ErrnoError(ENOENT, fmt::format("read status of '{}'", path));
  return file->second;
}

oci::Mount MakeMount(std::string destination, std::string type, std::string source,
                     std::vector<std::string> options = {}) {
  return {.destination = std::move(destination),
          .type = std::move(type),
          .source = std::move(source),
          .options = std::move(options)};
}

Result<MountPlan> Plan(std::vector<oci::Mount> mounts) {
  oci::Spec spec;
  spec.mounts = std::move(mounts);
  return PlanMounts(spec, "/bundle", FakeProbe);
}

Result<MountPlan> Plan(const oci::Mount& mount) {
  return Plan(std::vector<oci::Mount>{mount});
}

TEST(MountPlanTest, KernelFileSystemsPassUnchanged) {
  const std::vector<oci::Mount> mounts = {
      MakeMount("/proc", "proc", "proc"),
      MakeMount("/sys", "sysfs", "sysfs", {"ro"}),
      MakeMount("/dev", "tmpfs", "tmpfs", {"nosuid", "size=65536k"}),
      MakeMount("/dev/pts", "devpts", "devpts", {"newinstance"}),
      MakeMount("/dev/mqueue", "mqueue", "mqueue"),
      MakeMount("/dev/shm", "tmpfs", "shm", {"size=1048576"}),
      MakeMount("/sys/fs/cgroup", "cgroup", "cgroup", {"ro"}),
  };
  ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(mounts));
  ASSERT_EQ(plan.mounts.size(), mounts.size());
  EXPECT_THAT(plan.shares, IsEmpty());
  for (size_t i = 0; i < mounts.size(); ++i) {
    EXPECT_EQ(plan.mounts[i].destination, mounts[i].destination);
    EXPECT_EQ(plan.mounts[i].type, mounts[i].type);
    EXPECT_EQ(plan.mounts[i].options, mounts[i].options);
  }
}

TEST(MountPlanTest, DirectoriesAndFilesAreShared) {
  ASSERT_OK_AND_ASSIGN(
      const MountPlan plan,
      Plan({MakeMount("/proc", "proc", "proc"), MakeMount("/d", "bind", "/data", {"rbind", "ro"}),
            MakeMount("/etc/hosts", "none", "/etc/hosts", {"bind", "ro", "rw"})}));
  ASSERT_EQ(plan.shares.size(), 2u);
  EXPECT_EQ(plan.shares[0].mount, 1u);
  EXPECT_EQ(plan.shares[0].source, "/data");
  EXPECT_EQ(plan.shares[0].destination, "/d");
  EXPECT_EQ(plan.shares[0].set, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_TRUE(plan.shares[0].recursive);
  EXPECT_EQ(plan.shares[1].mount, 2u);
  EXPECT_EQ(plan.shares[1].set, 0u) << "the last word counts";
  EXPECT_FALSE(plan.shares[1].recursive);
  EXPECT_EQ(plan.mounts[2].type, "bind");
}

TEST(MountPlanTest, RelativeSourcesBeginInTheBundle) {
  ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(MakeMount("/r", "bind", "rel")));
  ASSERT_EQ(plan.shares.size(), 1u);
  EXPECT_EQ(plan.shares[0].source, "/bundle/rel");
  EXPECT_THAT(plan.mounts[0].options, ElementsAre("bind"));
}

TEST(MountPlanTest, TheGuestsOwnKernelFilesAndDevices) {
  for (const std::string source :
       {"/sys/class", "/sys/fs/cgroup/", "/proc//sys", "/x/../proc", "/dev", "/dev/null"}) {
    ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(MakeMount("/m", "bind", source, {"rbind"})));
    EXPECT_THAT(plan.shares, IsEmpty()) << source;
    EXPECT_EQ(plan.mounts.size(), 1u);
  }
  ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(MakeMount("/m", "bind", "/proc//sys/")));
  EXPECT_EQ(plan.mounts[0].source, "/proc/sys");
  ASSERT_OK_AND_ASSIGN(const MountPlan shm, Plan(MakeMount("/m", "bind", "/dev/shm/job")));
  EXPECT_EQ(shm.shares.size(), 1u);
}

TEST(MountPlanTest, ProcessesAndControlGroupsAreTheContainersOwn) {
  for (const char* source : {"/sys/fs/cgroup/", "/sys/fs/cgroup/systemd"}) {
    ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(MakeMount("/m", "bind", source, {"rbind", "ro"})));
    ASSERT_EQ(plan.mounts.size(), 1u);
    EXPECT_EQ(plan.mounts[0].type, "cgroup");
    EXPECT_EQ(plan.mounts[0].destination, "/m");
    EXPECT_THAT(plan.mounts[0].options, ElementsAre("nosuid", "nodev", "noexec", "ro"));
  }
  ASSERT_OK_AND_ASSIGN(const MountPlan sys, Plan(MakeMount("/m", "bind", "/sys", {"rbind"})));
  ASSERT_EQ(sys.mounts.size(), 2u);
  EXPECT_THAT(sys.mounts[0].options, ElementsAre("bind"));
  EXPECT_EQ(sys.mounts[1].type, "cgroup");
  EXPECT_EQ(sys.mounts[1].destination, "/m/fs/cgroup");
  ASSERT_OK_AND_ASSIGN(const MountPlan proc, Plan(MakeMount("/host/proc", "bind", "/proc", {"rbind", "ro"})));
  ASSERT_EQ(proc.mounts.size(), 1u);
  EXPECT_EQ(proc.mounts[0].type, "proc");
  EXPECT_THAT(proc.mounts[0].options, ElementsAre("nosuid", "nodev", "noexec", "ro"));
  for (const char* source : {"/proc/1/root", "/proc/self", "/proc/thread-self/fd", "/proc/4711"}) {
    EXPECT_THAT(Plan(MakeMount("/m", "bind", source)),
                IsError(Code::kInvalidArgument, HasSubstr("processes of the host")));
  }
}

TEST(MountPlanTest, SystemdsControlGroupsAreTheOneHierarchyOfTheGuest) {
  const auto plan = [](const char* access) {
    return Plan({MakeMount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "ro"}),
                 MakeMount("/sys/fs/cgroup/systemd", "bind", "/sys/fs/cgroup/systemd", {"bind", access})});
  };
  ASSERT_OK_AND_ASSIGN(const MountPlan open, plan("nodev"));
  ASSERT_EQ(open.mounts.size(), 1u);
  EXPECT_THAT(open.mounts[0].options, ElementsAre("nosuid"));
  ASSERT_OK_AND_ASSIGN(const MountPlan closed, plan("ro"));
  ASSERT_EQ(closed.mounts.size(), 1u);
  EXPECT_THAT(closed.mounts[0].options, ElementsAre("nosuid", "ro"));
}

TEST(MountPlanTest, SharedMemoryIsATmpfsOfTheGuest) {
  ASSERT_OK_AND_ASSIGN(const MountPlan sized,
                       Plan(MakeMount("/dev/shm", "bind", "/engine/shm", {"rbind", "ro"})));
  EXPECT_THAT(sized.shares, IsEmpty());
  EXPECT_EQ(sized.mounts[0].type, "tmpfs");
  EXPECT_THAT(sized.mounts[0].options,
              ElementsAre("nosuid", "nodev", "noexec", "mode=1777", fmt::format("size={}", 123 << 20), "ro"));
  ASSERT_OK_AND_ASSIGN(const MountPlan endless, Plan(MakeMount("/dev/shm/", "bind", "/engine/endless")));
  EXPECT_THAT(endless.mounts[0].options, testing::Contains("size=0"));
  ASSERT_OK_AND_ASSIGN(const MountPlan plain, Plan(MakeMount("/dev/shm", "bind", "/data")));
  EXPECT_EQ(plain.shares.size(), 1u) << "a directory of the user's";
}

TEST(MountPlanTest, IdsAreMappedOnTheHost) {
  oci::Mount mount = MakeMount("/d", "bind", "/data", {"rbind", "ridmap", "ro"});
  mount.uid_mappings = {{0, 1000, 1}};
  mount.gid_mappings = {{0, 2000, 1}};
  ASSERT_OK_AND_ASSIGN(const MountPlan plan, Plan(mount));
  ASSERT_EQ(plan.shares.size(), 1u);
  ASSERT_TRUE(plan.shares[0].id_map.has_value());
  EXPECT_TRUE(plan.shares[0].id_map->recursive);
  EXPECT_EQ(plan.shares[0].id_map->uid_mappings[0].host_id, 1000u);
  EXPECT_THAT(plan.mounts[0].options, ElementsAre("rbind", "ro"));
  EXPECT_THAT(plan.mounts[0].uid_mappings, IsEmpty());
  EXPECT_THAT(plan.mounts[0].gid_mappings, IsEmpty());
}

TEST(MountPlanTest, OverlaysAreMountedOnTheHost) {
  ASSERT_OK_AND_ASSIGN(const MountPlan plan,
                       Plan(MakeMount("/v", "overlay", "merged",
                                      {"lowerdir=/lower\\:1:/data", "upperdir=/data", "workdir=/data",
                                       "private", "nosuid", "userxattr", "context=\"a:b,c\"", "ro"})));
  ASSERT_EQ(plan.shares.size(), 1u);
  const ShareRequest& share = plan.shares[0];
  ASSERT_TRUE(share.overlay.has_value());
  EXPECT_EQ(share.overlay->data,
            "lowerdir=/lower\\:1:/data,upperdir=/data,workdir=/data,userxattr,context=\"a:b,c\"");
  EXPECT_EQ(share.overlay->flags, static_cast<unsigned long>(MS_NOSUID | MS_RDONLY));
  EXPECT_EQ(share.set, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(share.destination, "/v");
  EXPECT_EQ(plan.mounts[0].type, "bind");
  EXPECT_THAT(plan.mounts[0].options, ElementsAre("private", "nosuid", "ro", "bind"));
}

TEST(MountPlanTest, AnOverlayWithoutAnUpperLayerIsReadOnly) {
  ASSERT_OK_AND_ASSIGN(const MountPlan plan,
                       Plan(MakeMount("/v", "overlay", "overlay", {"lowerdir=/data:/lower\\:1", "rw"})));
  EXPECT_THAT(plan.mounts[0].options, ElementsAre("rw", "bind", "ro"));
}

TEST(MountPlanTest, AnOverlayIsItsOwnAlsoInAUserNamespace) {
  oci::Spec spec;
  spec.linux.emplace().namespaces = {{"user", ""}};
  spec.mounts = {MakeMount("/v", "overlay", "overlay", {"lowerdir=/data:/lower\\:1", "noatime"})};
  EXPECT_OK(PlanMounts(spec, "/bundle", FakeProbe));
}

TEST(MountPlanTest, OverlaysNameTheDirectoryThatIsWrong) {
  const auto plan = [](const std::string& options) {
    return Plan(MakeMount("/v", "overlay", "merged", {options}));
  };
  EXPECT_THAT(plan("lowerdir=/data:/nowhere"),
              IsError(Code::kNotFound,
                      "mount 'merged' on '/v': lowerdir: read status of '/nowhere': No such "
                      "file or directory"));
  EXPECT_THAT(plan("lowerdir=/data,upperdir=/etc/hosts"),
              IsError(testing::_, "mount 'merged' on '/v': upperdir '/etc/hosts': Not a directory"));
  EXPECT_THAT(plan("lowerdir=rel"),
              IsError(Code::kInvalidArgument, HasSubstr("lowerdir 'rel' is no absolute")));
  EXPECT_THAT(Plan(MakeMount("/v", "overlay", "merged", {"lowerdir=/data", "idmap"})),
              IsError(Code::kInvalidArgument, HasSubstr("only a bind mount can map ids")));
  EXPECT_THAT(Plan(MakeMount("/v", "overlay", "merged", {"remount"})),
              IsError(Code::kUnimplemented, HasSubstr("type 'overlay'")));
}

TEST(MountPlanTest, RefusalsNameTheMountAndTheReason) {
  EXPECT_THAT(
      Plan(MakeMount("/s", "bind", "/run/docker.sock")),
      IsError(
          Code::kInvalidArgument,
          "mount '/run/docker.sock' on '/s': a socket of the host cannot be reached from a virtual machine"));
  EXPECT_THAT(Plan(MakeMount("/s", "bind", "/run/fifo")),
              IsError(Code::kInvalidArgument, HasSubstr("a fifo")));
  EXPECT_THAT(Plan(MakeMount("/s", "bind", "/srv/null")),
              IsError(Code::kInvalidArgument, HasSubstr("outside /dev")));
  EXPECT_THAT(Plan(MakeMount("/x/../proc", "bind", "/data")),
              IsError(Code::kInvalidArgument, HasSubstr("\"/proc\" cannot be mounted because")));
  EXPECT_OK(Plan(MakeMount("/proc", "bind", "/proc")));
  EXPECT_THAT(Plan(MakeMount("/s", "bind", "/dev/sda")),
              IsError(Code::kInvalidArgument, HasSubstr("a block device")));
  EXPECT_THAT(Plan(MakeMount("/s", "bind", "/nowhere")),
              IsError(Code::kNotFound,
                      "mount '/nowhere' on '/s': read status of '/nowhere': No such file or directory"));
  EXPECT_THAT(Plan(MakeMount("/s", "ext4", "/dev/sda")),
              IsError(Code::kUnimplemented, HasSubstr("type 'ext4'")));
  EXPECT_THAT(Plan(MakeMount("/s", "bind", "/data", {"idmap"})),
              IsError(Code::kInvalidArgument, HasSubstr("mount '/data' on '/s': 'idmap' needs uidMappings")));
}

TEST(ProbeSourceTest, TellsKinds) {
  EXPECT_EQ(ProbeSource("/")->kind, SourceKind::kDirectory);
  EXPECT_EQ(ProbeSource("/etc/passwd")->kind, SourceKind::kRegularFile);
  EXPECT_EQ(ProbeSource("/dev/null")->kind, SourceKind::kCharacterDevice);
  EXPECT_EQ(ProbeSource("/proc")->tmpfs_bytes, std::nullopt);
  EXPECT_THAT(ProbeSource("/nonexistent/x"), test::IsErrorCode(Code::kNotFound));
}

}  // namespace
}  // namespace kata::storage
