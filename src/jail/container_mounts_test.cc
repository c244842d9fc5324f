// What the process inside of a container finds of file systems and devices.
#include <sys/mount.h>
#include <sys/stat.h>

#include "jail/container_fixture_test.h"

namespace kata::jail {
namespace {

using test::IsError;
using testing::_;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(ContainerTest, MountsAreThereWithTheirFlags) {
  oci::Spec spec = ShellSpec("cat /proc/self/mountinfo");
  spec.mounts.push_back({"/data", "tmpfs", "tmpfs", {"ro", "noatime", "size=1m"}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, HasSubstr(" /proc rw,nosuid,nodev,noexec,relatime - proc proc rw"));
  EXPECT_THAT(result.output, HasSubstr(" /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755"));
  EXPECT_THAT(result.output,
              HasSubstr(" /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,mode=620,ptmxmode=666"));
  EXPECT_THAT(result.output,
              HasSubstr(" /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k"));
  EXPECT_THAT(result.output, HasSubstr(" /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw"));
  EXPECT_THAT(result.output, HasSubstr(" /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs"));
  EXPECT_THAT(result.output, HasSubstr(" /data ro,noatime - tmpfs tmpfs rw,size=1024k"));
  // Nothing of the old root is left.
  EXPECT_THAT(result.output, Not(HasSubstr("/rootfs/dev")));
}

TEST_F(ContainerTest, MaskedAndReadOnlyPathsCannotBeReadOrWritten) {
  ASSERT_OK_AND_ASSIGN(const RunResult result,
                       Run(ShellSpec("stat -c %t:%T /proc/timer_list; ls -A /sys/firmware;"
                                     "echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused;"
                                     "touch /sys/firmware/x || echo refused")));
  EXPECT_THAT(result.output, StartsWith("1:3\n"));
  EXPECT_THAT(result.output, HasSubstr("Read-only file system\nrefused\n"));
  EXPECT_EQ(result.status.code, 0);
}

TEST_F(ContainerTest, ReadOnlyRootKeepsItsMountsWritable) {
  oci::Spec spec = ShellSpec("touch /x || echo refused; touch /dev/shm/x && echo written");
  spec.root->readonly = true;
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, HasSubstr("/x: Read-only file system\nrefused\nwritten\n"));
}

TEST_F(ContainerTest, BindMountsDirectoriesAndFilesWithAttributes) {
  const std::string source = directory_->path() + "/volume";
  ASSERT_OK(MakeDirectories(source));
  ASSERT_OK(WriteFileAtomic(source + "/file", "content\n"));
  oci::Spec spec = ShellSpec(
      "cat /vol/file /etc/one; echo x > /vol/new && echo made; echo x > /etc/one || echo refused;"
      "grep -E ' /(vol|etc/one) ' /proc/self/mountinfo");
  spec.mounts.push_back({"/vol", "bind", source, {"rbind", "rprivate", "nosuid", "nodev"}, {}, {}});
  spec.mounts.push_back({"/etc/one", "none", source + "/file", {"bind", "ro", "noexec"}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, HasSubstr("content\ncontent\nmade\n"));
  EXPECT_THAT(result.output, HasSubstr("refused\n"));
  EXPECT_THAT(result.output, testing::ContainsRegex(" /vol rw,nosuid,nodev,relatime"));
  EXPECT_THAT(result.output, testing::ContainsRegex(" /etc/one ro,noexec,relatime"));
  EXPECT_TRUE(PathExists(source + "/new"));
}

TEST_F(ContainerTest, AFileIsNotMountedOnADirectory) {
  ASSERT_OK(WriteFileAtomic(directory_->path() + "/file", "content\n"));
  oci::Spec spec = ShellSpec("true");
  spec.mounts.push_back({"/etc", "bind", directory_->path() + "/file", {"bind"}, {}, {}});
  EXPECT_THAT(Run(spec), IsError(_, HasSubstr("Not a directory")));
}

TEST_F(ContainerTest, OnlyAProcFileSystemIsBoundOnProc) {
  oci::Spec spec = ShellSpec("true");
  spec.mounts[0] = {"/proc", "bind", rootfs_ + "/tmp", {"bind"}, {}, {}};
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument,
                                 HasSubstr("\"/proc\" cannot be mounted because it is not of type proc")));
  spec.mounts[0].source = "/proc";
  EXPECT_OK(Run(spec));
}

TEST_F(ContainerTest, RecursiveReadOnlyCoversMountsBelow) {
  const std::string source = directory_->path() + "/volume";
  ASSERT_OK(MakeDirectories(source + "/below"));
  ASSERT_EQ(mount("tmpfs", (source + "/below").c_str(), "tmpfs", 0, nullptr), 0);
  oci::Spec spec = ShellSpec("touch /plain/below/x && echo written; touch /vol/below/x || echo refused");
  spec.mounts.push_back({"/plain", "bind", source, {"rbind", "ro"}, {}, {}});
  spec.mounts.push_back({"/vol", "bind", source, {"rbind", "rro"}, {}, {}});
  const Result<RunResult> result = Run(spec);
  EXPECT_EQ(umount2((source + "/below").c_str(), MNT_DETACH), 0);
  ASSERT_OK(result);
  EXPECT_THAT(result->output, StartsWith("written\n"));
  EXPECT_THAT(result->output, HasSubstr("refused\n"));
}

TEST_F(ContainerTest, BindMountsShowOwnersThroughIdMaps) {
  const std::string source = directory_->path() + "/volume";
  ASSERT_OK(MakeDirectories(source + "/below"));
  ASSERT_OK(WriteFileAtomic(source + "/file", "content"));
  ASSERT_EQ(chown((source + "/file").c_str(), 1, 2), 0);
  ASSERT_EQ(mount(source.c_str(), (source + "/below").c_str(), "", MS_BIND, nullptr), 0);
  const std::vector<oci::IdMapping> ids{{0, 5000, 10}};
  oci::Spec spec = ShellSpec("stat -c %u:%g /one/file /one/below/file /all/below/file; touch /one/new");
  spec.mounts.push_back({"/one", "bind", source, {"rbind"}, ids, {{0, 6000, 10}}});
  spec.mounts.push_back({"/all", "bind", source, {"rbind", "ridmap"}, ids, ids});
  spec.process->user.uid = 5003;
  spec.process->user.gid = 6004;
  ASSERT_EQ(chmod(source.c_str(), 0777), 0);
  const Result<RunResult> result = Run(spec);
  EXPECT_EQ(umount2((source + "/below").c_str(), MNT_DETACH), 0);
  ASSERT_OK(result);
  EXPECT_EQ(result->output, "5001:6002\n1:2\n5001:5002\n");
  struct stat info{};
  ASSERT_EQ(stat((source + "/new").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 3u);
  EXPECT_EQ(info.st_gid, 4u);
}

TEST_F(ContainerTest, IdmapAloneUsesTheContainersUserNamespace) {
  const std::string source = directory_->path() + "/volume";
  ASSERT_OK(MakeDirectories(source));
  ASSERT_EQ(chown(source.c_str(), 7, 7), 0);
  oci::Spec spec = ShellSpec("stat -c %u:%g /vol");
  spec.mounts.push_back({"/vol", "bind", source, {"bind", "idmap"}, {}, {}});
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument, HasSubstr("'idmap' needs uidMappings")));
  MapIds(spec);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "7:7\n");
  spec.mounts.back() = {"/vol", "tmpfs", "tmpfs", {"idmap"}, {}, {}};
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument, HasSubstr("only a bind mount can map ids")));
}

TEST_F(ContainerTest, TmpcopyupStartsWithTheContentBelow) {
  ASSERT_OK(MakeDirectories(rootfs_ + "/var/deep", 0750));
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/var/deep/file", "kept\n", 0640));
  ASSERT_EQ(symlink("deep/file", (rootfs_ + "/var/link").c_str()), 0);
  oci::Spec spec = ShellSpec("cat /var/link; stat -c %a /var/deep /var/deep/file; echo new > /var/deep/file");
  spec.mounts.push_back({"/var", "tmpfs", "tmpfs", {"tmpcopyup"}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "kept\n750\n640\n");
  ASSERT_OK_AND_ASSIGN(const std::string below, ReadFile(rootfs_ + "/var/deep/file"));
  EXPECT_EQ(below, "kept\n");
}

TEST_F(ContainerTest, TmpfsHasTheModeOfWhatItCoversOrItsOwn) {
  ASSERT_OK(MakeDirectories(rootfs_ + "/covered", 0750));
  ASSERT_OK(MakeDirectories(rootfs_ + "/told", 0750));
  for (const char* copy_up : {"rw", "tmpcopyup"}) {
    oci::Spec spec = ShellSpec("stat -c '%n %a' /covered /made /told");
    spec.mounts.push_back({"/covered", "tmpfs", "tmpfs", {copy_up}, {}, {}});
    spec.mounts.push_back({"/made", "tmpfs", "tmpfs", {copy_up}, {}, {}});
    spec.mounts.push_back({"/told", "tmpfs", "tmpfs", {copy_up, "mode=700"}, {}, {}});
    ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
    EXPECT_EQ(result.output, "/covered 750\n/made 1777\n/told 700\n");
    ASSERT_EQ(rmdir((rootfs_ + "/made").c_str()), 0);
  }
}

TEST_F(ContainerTest, DestinationsBehindLinksStayInsideTheRoot) {
  const std::string outside = directory_->path() + "/outside";
  ASSERT_OK(MakeDirectories(outside));
  ASSERT_EQ(symlink("../../../../../../..", (rootfs_ + "/up").c_str()), 0);
  ASSERT_EQ(symlink(outside.c_str(), (rootfs_ + "/absolute").c_str()), 0);
  ASSERT_OK(MakeDirectories(rootfs_ + outside));
  oci::Spec spec = ShellSpec("touch /up/landed/x /absolute/x; ls /landed");
  spec.mounts.push_back({"/up/landed", "tmpfs", "tmpfs", {}, {}, {}});
  spec.mounts.push_back({"/absolute", "tmpfs", "tmpfs", {}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "x\n");
  EXPECT_FALSE(PathExists(outside + "/x"));
  EXPECT_FALSE(PathExists("/landed"));
}

TEST_F(ContainerTest, DanglingLinksOfAnImageLeadToWhatTheyMean) {
  ASSERT_EQ(symlink("/run", (rootfs_ + "/varrun").c_str()), 0);
  ASSERT_EQ(symlink("../run/resolve/stub", (rootfs_ + "/etc/resolv.conf").c_str()), 0);
  const std::string source = directory_->path() + "/resolv.conf";
  ASSERT_OK(WriteFileAtomic(source, "nameserver\n"));
  oci::Spec spec = ShellSpec("cat /etc/resolv.conf; touch /varrun/lock/x; ls /run/lock");
  spec.mounts.push_back({"/etc/resolv.conf", "bind", source, {"bind"}, {}, {}});
  spec.mounts.push_back({"/varrun/lock", "tmpfs", "tmpfs", {}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "nameserver\nx\n");
}

TEST_F(ContainerTest, RootPropagationIsThatOfTheSpec) {
  oci::Spec spec = ShellSpec("awk '$5 == \"/\" || $5 == \"/dev/shm\" {print $5, $7}' /proc/self/mountinfo");
  ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/awk").c_str()), 0);
  const auto run = [&](const char* propagation) {
    spec.linux->rootfs_propagation = propagation;
    const Result<RunResult> result = Run(spec);
    return result ? result->output : result.error().message();
  };
  EXPECT_THAT(run("rshared"), testing::ContainsRegex("^/ shared:.*\n/dev/shm shared:"));
  EXPECT_THAT(run("shared"), testing::ContainsRegex("^/ shared:.*\n/dev/shm -"));
  EXPECT_EQ(run("rprivate"), "/ -\n/dev/shm -\n");
  EXPECT_EQ(run("unbindable"), "/ unbindable\n/dev/shm -\n");
}

TEST_F(ContainerTest, MountsAreListedInTheOrderOfTheSpec) {
  oci::Spec spec = ShellSpec("awk '{print $5}' /proc/self/mountinfo");
  ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/awk").c_str()), 0);
  spec.mounts.push_back({"/vol", "bind", directory_->path(), {"bind"}, {}, {}});
  spec.mounts.push_back({"/data", "tmpfs", "tmpfs", {}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output,
              StartsWith("/\n/proc\n/dev\n/dev/pts\n/dev/shm\n/dev/mqueue\n/sys\n/vol\n/data\n"));
}

TEST_F(ContainerTest, MountsIntoProcByALinkAreRefused) {
  ASSERT_EQ(symlink("/proc/sys", (rootfs_ + "/trick").c_str()), 0);
  oci::Spec spec = ShellSpec("true");
  spec.mounts.push_back({"/trick/kernel", "tmpfs", "tmpfs", {}, {}, {}});
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument, HasSubstr("leads into /proc")));
}

TEST_F(ContainerTest, ProcBehindALinkIsRefused) {
  ASSERT_EQ(rmdir((rootfs_ + "/proc").c_str()), 0);
  ASSERT_EQ(symlink("tmp", (rootfs_ + "/proc").c_str()), 0);
  EXPECT_THAT(Run(ShellSpec("true")), IsError(_, HasSubstr("'/proc' must be mounted on ordinary directory")));
}

TEST_F(ContainerTest, DevicesAndLinks) {
  oci::Spec spec = ShellSpec(
      "stat -c '%n %F %t:%T %a %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "
      "/dev/own;"
      "for l in fd stdin ptmx; do readlink /dev/$l; done; echo x > /dev/null; cat /proc/self/fd/0");
  spec.linux->devices.push_back({"/dev/own", "c", 1, 3, 0640, 5, 6});
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, HasSubstr("/dev/null character special file 1:3 666 0:0\n"));
  EXPECT_THAT(result.output, HasSubstr("/dev/urandom character special file 1:9 666 0:0\n"));
  EXPECT_THAT(result.output, HasSubstr("/dev/tty character special file 5:0 666 0:0\n"));
  EXPECT_THAT(result.output, HasSubstr("/dev/own character special file 1:3 640 5:6\n"));
  EXPECT_THAT(result.output, HasSubstr("/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n"));
  EXPECT_EQ(result.status.code, 0);
}

TEST_F(ContainerTest, MissingRootfsOrBindSourceIsNamed) {
  CreateOptions options = Options();
  options.rootfs += "/nosuch";
  EXPECT_THAT(Container::Create(ShellSpec("true"), options),
              IsError(Code::kNotFound, HasSubstr(options.rootfs)));
  oci::Spec spec = ShellSpec("true");
  spec.mounts.push_back({"/vol", "bind", "/nosuch-source", {"bind"}, {}, {}});
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kNotFound, HasSubstr("mount '/nosuch-source' on '/vol'")));
}

}  // namespace
}  // namespace kata::jail
