// Tests of containers from busybox in real namespaces on this machine, without a VM: what the process inside
// finds, and what is refused.
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "jail/jail.h"
#include "jail/sealed_executable.h"
#include "linux/mountinfo.h"
#include "linux/namespaces.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

// The test program is its own `<self> init`.
int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "init") == 0) kata::jail::JailMain();
  // Made once for the life of the process; before the first test, so that it does not look like a leak of
  // that.
  (void)kata::jail::SealedExecutablePath("/proc/self/exe");
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

namespace kata::jail {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::_;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct RunResult {
  std::string output;  // stdout and stderr
  ExitStatus status;
};

class ContainerTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!PathExists("/bin/busybox")) GTEST_SKIP() << "needs busybox-static";
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create("kata-jail-"));
    directory_ = std::make_unique<TempDir>(std::move(directory));
    ASSERT_EQ(chmod(directory_->path().c_str(), 0755), 0);
    rootfs_ = directory_->path() + "/rootfs";
    for (const char* name : {"", "/bin", "/etc", "/proc", "/sys", "/dev", "/tmp", "/root"}) {
      ASSERT_OK(MakeDirectories(rootfs_ + name));
    }
    ASSERT_OK_AND_ASSIGN(const std::string busybox, ReadFile("/bin/busybox"));
    ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/busybox", busybox, 0755));
    for (const char* applet :
         {"sh", "cat", "echo", "id",    "ls",    "mount",    "grep", "pwd",  "env",   "sleep", "hostname",
          "ps", "tty", "stty", "touch", "mknod", "readlink", "stat", "kill", "mkdir", "ip",    "true"}) {
      ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/" + applet).c_str()), 0);
    }
    ASSERT_OK(WriteFileAtomic(rootfs_ + "/etc/passwd",
                              "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/u:/bin/sh\n"));
  }

  // A container as an engine describes it, with a shell command as its process.
  static oci::Spec ShellSpec(const std::string& command) {
    oci::Spec spec;
    spec.oci_version = "1.1.0";
    spec.hostname = "jailed";
    spec.root = oci::Root{"rootfs", false};
    oci::Process process;
    process.args = {"/bin/sh", "-c", command};
    process.env = {"PATH=/bin:/usr/bin", "COLOR=blue"};
    process.cwd = "/";
    process.no_new_privileges = true;
    const std::vector<std::string> names{"CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"};
    process.capabilities = oci::Capabilities{names, names, {}, names, {}};
    spec.process = process;
    spec.mounts = {
        {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}, {}},
        {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, {}, {}},
        {"/dev/pts",
         "devpts",
         "devpts",
         {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
         {},
         {}},
        {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}, {}, {}},
        {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}, {}},
        {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, {}, {}},
    };
    oci::Linux section;
    for (const char* type : {"pid", "network", "ipc", "uts", "mount"})
      section.namespaces.push_back({type, ""});
    section.masked_paths = {"/proc/kcore", "/proc/timer_list", "/sys/firmware", "/proc/nosuch"};
    section.readonly_paths = {"/proc/sys", "/proc/irq"};
    spec.linux = section;
    return spec;
  }

  CreateOptions Options() const {
    CreateOptions options;
    options.container_id = "c1";
    options.rootfs = rootfs_;
    return options;
  }

  // Runs a container to its end.
  Result<RunResult> Run(const oci::Spec& spec, CreateOptions options) {
    PipeEnds pipe = TRY(MakePipe());
    options.stdio.stdout_fd = pipe.write.get();
    options.stdio.stderr_fd = pipe.write.get();
    std::unique_ptr<Container> container = TRY(Container::Create(spec, options));
    pipe.write.Reset();
    TRY(container->Start());
    return Finish(container->TakeInit(), pipe.read.get());
  }
  Result<RunResult> Run(const oci::Spec& spec) { return Run(spec, Options()); }

  static Result<RunResult> Finish(ChildProcess process, int output_fd) {
    RunResult result;
    const Deadline deadline = Deadline::After(std::chrono::seconds(60));
    char buffer[4096];
    for (;;) {
      TRY(WaitFd(output_fd, POLLIN, deadline, "output"));
      const ssize_t n = read(output_fd, buffer, sizeof(buffer));
      // A pseudo-terminal says EIO when its slave is closed.
      if (n < 0 && errno != EIO) return SysError("read output");
      if (n <= 0) break;
      result.output.append(buffer, static_cast<size_t>(n));
    }
    result.status = TRY(process.Wait(deadline));
    return result;
  }

  std::unique_ptr<TempDir> directory_;
  std::string rootfs_;
};

TEST_F(ContainerTest, RunsWithPid1HostNameAndExitCode) {
  ASSERT_OK_AND_ASSIGN(const RunResult result,
                       Run(ShellSpec("echo pid $$; hostname; echo oops >&2; exit 7")));
  EXPECT_EQ(result.output, "pid 1\njailed\noops\n");
  EXPECT_EQ(result.status.code, 7);
}

TEST_F(ContainerTest, WaitsAtTheGateUntilStart) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  CreateOptions options = Options();
  options.stdio.stdout_fd = pipe.write.get();
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container,
                       Container::Create(ShellSpec("echo running"), options));
  pipe.write.Reset();
  EXPECT_THAT(WaitFd(pipe.read.get(), POLLIN, Deadline::After(std::chrono::milliseconds(200)), "output"),
              IsErrorCode(Code::kDeadlineExceeded));
  EXPECT_GT(container->init_pid(), 1);
  ASSERT_OK(container->Start());
  EXPECT_THAT(container->Start(), IsErrorCode(Code::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(const RunResult result, Finish(container->TakeInit(), pipe.read.get()));
  EXPECT_EQ(result.output, "running\n");
}

TEST_F(ContainerTest, DestructionKillsAContainerThatWasNotStarted) {
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(ShellSpec("true"), Options()));
  ASSERT_OK_AND_ASSIGN(const UniqueFd pidfd, OpenPidfd(container->init_pid()));
  container.reset();
  EXPECT_OK(WaitFd(pidfd.get(), POLLIN, Deadline::After(std::chrono::seconds(10)), "end of init"));
}

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
  spec.linux->namespaces.push_back({"user", ""});
  spec.linux->uid_mappings = {{0, 100000, 65536}};
  spec.linux->gid_mappings = {{0, 100000, 65536}};
  for (const char* name : {"", "/tmp", "/proc", "/dev", "/sys"})
    ASSERT_EQ(chown((rootfs_ + name).c_str(), 100000, 100000), 0);
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

TEST_F(ContainerTest, MountsIntoProcAreRefused) {
  oci::Spec spec = ShellSpec("true");
  spec.mounts.push_back({"/proc/self/attr", "tmpfs", "tmpfs", {}, {}, {}});
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument, HasSubstr("'/proc/self/attr'")));
  ASSERT_EQ(symlink("/proc/sys", (rootfs_ + "/trick").c_str()), 0);
  spec.mounts.back().destination = "/trick/kernel";
  EXPECT_THAT(Run(spec), IsError(Code::kInvalidArgument, HasSubstr("leads into /proc")));
}

TEST_F(ContainerTest, ProcBehindALinkIsRefused) {
  ASSERT_EQ(rmdir((rootfs_ + "/proc").c_str()), 0);
  ASSERT_EQ(symlink("tmp", (rootfs_ + "/proc").c_str()), 0);
  EXPECT_THAT(Run(ShellSpec("true")), IsError(_, HasSubstr("mount 'proc' on '/proc'")));
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

TEST_F(ContainerTest, CapabilitiesUserGroupsAndNoNewPrivileges) {
  oci::Spec spec = ShellSpec("id -u; id -g; id -G; grep -E 'Cap|NoNewPrivs' /proc/self/status; umask; env");
  spec.process->user.uid = 1000;
  spec.process->user.gid = 1001;
  spec.process->user.additional_gids = {5, 1002};
  spec.process->user.umask = 0027;
  const std::vector<std::string> ambient{"CAP_NET_BIND_SERVICE"};
  spec.process->capabilities =
      oci::Capabilities{{"CAP_KILL", "CAP_NET_BIND_SERVICE"}, ambient, ambient, ambient, ambient};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, StartsWith("1000\n1001\n1001 5 1002\n"));
  EXPECT_THAT(result.output, HasSubstr("CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\n"
                                       "CapEff:\t0000000000000400\nCapBnd:\t0000000000000420\n"
                                       "CapAmb:\t0000000000000400\nNoNewPrivs:\t1\n0027\n"));
  EXPECT_THAT(result.output, HasSubstr("COLOR=blue\n"));
  EXPECT_THAT(result.output, HasSubstr("HOME=/home/u\n"));
}

TEST_F(ContainerTest, WithoutCapabilitiesAllAreDropped) {
  oci::Spec spec = ShellSpec("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status");
  spec.process->capabilities.reset();
  spec.process->no_new_privileges = false;
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t0\n");
}

TEST_F(ContainerTest, RlimitsOomScoreAndSysctls) {
  oci::Spec spec = ShellSpec("ulimit -n; ulimit -H -c; cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax");
  spec.process->rlimits = {{"RLIMIT_NOFILE", 128, 64}, {"RLIMIT_CORE", 0, 0}};
  spec.process->oom_score_adj = 100;
  spec.linux->sysctl = {{"kernel.msgmax", "4321"}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "64\n0\n100\n4321\n");
}

TEST_F(ContainerTest, NewNetworkHasOnlyLoopbackAndItIsUp) {
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(ShellSpec("ip link show up; ls /sys/class/net")));
  EXPECT_THAT(result.output, HasSubstr("lo: <LOOPBACK,UP"));
  EXPECT_THAT(result.output, Not(HasSubstr("eth")));
}

TEST_F(ContainerTest, InheritsNoDescriptors) {
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(ShellSpec("ls /proc/1/fd; true")));
  EXPECT_EQ(result.output, "0\n1\n2\n");
}

TEST_F(ContainerTest, MissingProgramIsReportedAtCreate) {
  oci::Spec spec = ShellSpec("true");
  spec.process->args = {"nosuch"};
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kNotFound, "execute 'nosuch': executable file not found in $PATH"));
  spec.process->args = {"/bin/nosuch"};
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kNotFound, "execute '/bin/nosuch': no such file or directory"));
}

TEST_F(ContainerTest, ProgramThatIsNotExecutableIsReportedAtCreate) {
  oci::Spec spec = ShellSpec("true");
  spec.process->args = {"/etc/passwd"};
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kPermissionDenied, "execute '/etc/passwd': permission denied"));
  spec.process->args = {"/etc"};
  EXPECT_THAT(Container::Create(spec, Options()), IsError(_, "execute '/etc': is a directory"));
  // Executable for root only, but the process is another user.
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/mine", "#!/bin/sh\n", 0700));
  spec.process->args = {"mine"};
  spec.process->user.uid = 1000;
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kPermissionDenied, "execute 'mine': permission denied"));
}

TEST_F(ContainerTest, BadWorkingDirectoryIsReportedAtCreate) {
  oci::Spec spec = ShellSpec("pwd");
  spec.process->cwd = "/nosuch";
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kNotFound, "change to working directory '/nosuch': No such file or directory"));
  spec.process->cwd = "/etc/passwd";
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(_, "change to working directory '/etc/passwd': Not a directory"));
  spec.process->cwd = "/tmp";
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "/tmp\n");
}

TEST_F(ContainerTest, ErrorsOfExecveAreReportedByStart) {
  oci::Spec spec = ShellSpec("true");
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/bad", "#!/nosuch/interpreter\n", 0755));
  spec.process->args = {"/bin/bad"};
  {
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(spec, Options()));
    EXPECT_THAT(container->Start(),
                IsError(Code::kNotFound, "execute '/bin/bad': no such file or directory"));
  }
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/bad", "no program\n", 0755));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(spec, Options()));
  EXPECT_THAT(container->Start(), IsError(_, "execute '/bin/bad': exec format error"));
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

TEST_F(ContainerTest, SeccompReturnsErrnoWithAndWithoutNoNewPrivileges) {
  oci::Seccomp seccomp;
  seccomp.default_action = "SCMP_ACT_ALLOW";
  seccomp.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"};
  seccomp.syscalls.push_back({{"mkdir", "mkdirat", "no_such_call"}, "SCMP_ACT_ERRNO", ENOTUNIQ, {}});
  for (const bool no_new_privileges : {true, false}) {
    oci::Spec spec = ShellSpec("mkdir /x; grep -E '^(Seccomp|CapPrm):' /proc/self/status");
    spec.process->no_new_privileges = no_new_privileges;
    spec.linux->seccomp = seccomp;
    ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
    EXPECT_THAT(result.output, HasSubstr("Name not unique on network"));
    EXPECT_THAT(result.output, HasSubstr("Seccomp:\t2\n"));
    EXPECT_THAT(result.output, HasSubstr("CapPrm:\t0000000000000421\n"));
  }
}

TEST_F(ContainerTest, UserNamespaceMapsIds) {
  oci::Spec spec =
      ShellSpec("id -u; cat /proc/self/uid_map; touch /tmp/mine; echo ok > /dev/null && echo dev");
  spec.linux->namespaces.push_back({"user", ""});
  spec.linux->uid_mappings = {{0, 100000, 65536}};
  spec.linux->gid_mappings = {{0, 100000, 65536}};
  for (const char* name : {"", "/tmp", "/proc", "/dev", "/sys"})
    ASSERT_EQ(chown((rootfs_ + name).c_str(), 100000, 100000), 0);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, testing::MatchesRegex("0\n +0 +100000 +65536\ndev\n"));
  struct stat info{};
  ASSERT_EQ(stat((rootfs_ + "/tmp/mine").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 100000u);
}

TEST_F(ContainerTest, TimeNamespaceShiftsTheClock) {
  oci::Spec spec = ShellSpec("cat /proc/uptime; cat /proc/self/timens_offsets");
  spec.linux->namespaces.push_back({"time", ""});
  spec.linux->time_offsets = {{"boottime", {1000000, 0}}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_GE(std::atof(result.output.c_str()), 1000000.0);
}

TEST_F(ContainerTest, JoinsNamespacesByPathAndFromTheSandbox) {
  oci::Spec spec = ShellSpec("readlink /proc/self/ns/ipc; readlink /proc/self/ns/net");
  for (oci::Namespace& entry : spec.linux->namespaces) {
    if (entry.type == "network") entry.path = "/proc/self/ns/net";
  }
  ASSERT_OK_AND_ASSIGN(const linux::NamespaceFd ipc, linux::NamespaceFd::OfProcess(0, CLONE_NEWIPC));
  CreateOptions options = Options();
  options.ipc_namespace_fd = ipc.get();
  char ipc_name[64] = {};
  char net_name[64] = {};
  ASSERT_GT(readlink("/proc/self/ns/ipc", ipc_name, sizeof(ipc_name) - 1), 0);
  ASSERT_GT(readlink("/proc/self/ns/net", net_name, sizeof(net_name) - 1), 0);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec, options));
  EXPECT_EQ(result.output, fmt::format("{}\n{}\n", ipc_name, net_name));
}

TEST_F(ContainerTest, TerminalIsControllingAndOnTheConsole) {
  oci::Spec spec = ShellSpec(
      "tty; stty size; echo open > /dev/tty; echo console > /dev/console;"
      "stat -c %u:%g:%a /dev/pts/0");
  spec.process->terminal = true;
  spec.process->console_size = {33, 101};
  spec.process->user.uid = 1000;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(spec, Options()));
  const UniqueFd terminal = container->TakeTerminal();
  ASSERT_OK(container->Start());
  ASSERT_OK_AND_ASSIGN(const RunResult result, Finish(container->TakeInit(), terminal.get()));
  EXPECT_EQ(result.output, "/dev/pts/0\r\n33 101\r\nopen\r\nconsole\r\n1000:0:620\r\n");
}

TEST_F(ContainerTest, TerminalNeedsADevptsOfTheContainer) {
  oci::Spec spec = ShellSpec("tty");
  spec.process->terminal = true;
  std::erase_if(spec.mounts, [](const oci::Mount& mount) { return mount.type == "devpts"; });
  EXPECT_THAT(Container::Create(spec, Options()), IsError(_, HasSubstr("make terminal: ")));
  spec.mounts.push_back({"/dev/pts", "tmpfs", "tmpfs", {}, {}, {}});
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kFailedPrecondition, HasSubstr("no devpts is mounted on '/dev/pts'")));
}

TEST_F(ContainerTest, TerminalInAUserNamespaceUnderAReadOnlyDev) {
  oci::Spec spec = ShellSpec("tty; echo console > /dev/console; touch /dev/x || echo refused");
  spec.process->terminal = true;
  spec.mounts[1].options.push_back("ro");
  spec.linux->namespaces.push_back({"user", ""});
  spec.linux->uid_mappings = {{0, 100000, 65536}};
  spec.linux->gid_mappings = {{0, 100000, 65536}};
  for (const char* name : {"", "/tmp", "/proc", "/dev", "/sys"})
    ASSERT_EQ(chown((rootfs_ + name).c_str(), 100000, 100000), 0);
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(spec, Options()));
  const UniqueFd terminal = container->TakeTerminal();
  ASSERT_OK(container->Start());
  ASSERT_OK_AND_ASSIGN(const RunResult result, Finish(container->TakeInit(), terminal.get()));
  EXPECT_THAT(result.output, StartsWith("/dev/pts/0\r\nconsole\r\n"));
  EXPECT_THAT(result.output, HasSubstr("refused\r\n"));
}

TEST_F(ContainerTest, StartHooksRunInTheContainerBeforeItsProgram) {
  oci::Spec spec = ShellSpec("cat /tmp/state; cat /tmp/order; echo program");
  spec.annotations = {{"key", "value"}};
  spec.process->user.uid = 1000;
  ASSERT_EQ(chmod((rootfs_ + "/tmp").c_str(), 01777), 0);
  const std::string script =
      "cat > /tmp/state; echo first $A $HOME $0 $1 $(id -u) > /tmp/order; "
      "grep CapEff /proc/self/status >> /tmp/order; ls /proc/self/fd >> /tmp/order";
  spec.hooks.start_container = {{"/bin/sh", {"sh", "-c", script, "zero", "one"}, {"A=b", "PATH=/bin"}, 60},
                                {"/bin/sh", {"sh", "-c", "echo second >> /tmp/order"}, {}, {}}};
  CreateOptions options = Options();
  options.bundle = "/run/bundle";
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec, options));
  EXPECT_EQ(result.output, R"({
  "ociVersion": "1.1.0",
  "id": "c1",
  "status": "created",
  "pid": 1,
  "bundle": "/run/bundle",
  "annotations": {
    "key": "value"
  }
}first b zero one 1000
CapEff:	0000000000000000
0
1
2
3
second
program
)");
}

TEST_F(ContainerTest, AStartHookThatFailsIsNamedAndEndsTheContainer) {
  const auto start = [&](const oci::Hook& hook) -> Status {
    oci::Spec spec = ShellSpec("touch /tmp/ran");
    spec.hooks.start_container = {hook};
    const std::unique_ptr<Container> container = TRY(Container::Create(spec, Options()));
    const Status status = container->Start();
    TRY(WaitFd(container->init_pidfd(), POLLIN, Deadline::After(std::chrono::seconds(30)), "end of init"));
    return status;
  };
  EXPECT_THAT(
      start({"/bin/sh", {"sh", "-c", "echo no table >&2; exit 3"}, {}, {}}),
      IsError(Code::kFailedPrecondition, "hooks.startContainer[0]: '/bin/sh': exit status 3: no table"));
  EXPECT_THAT(start({"/bin/nosuch", {}, {}, {}}),
              IsError(_,
                      "hooks.startContainer[0]: '/bin/nosuch': exit status 127: execute: No such file or "
                      "directory"));
  EXPECT_THAT(
      start({"/bin/sleep", {"sleep", "1000"}, {}, 1}),
      IsError(Code::kDeadlineExceeded, "hooks.startContainer[0]: '/bin/sleep': did not end within 1 s"));
  EXPECT_FALSE(PathExists(rootfs_ + "/tmp/ran"));
}

TEST_F(ContainerTest, StartHooksAreUnderTheFilterToo) {
  oci::Spec spec = ShellSpec("cat /tmp/hook");
  spec.process->no_new_privileges = false;
  spec.linux->seccomp = oci::Seccomp();
  spec.linux->seccomp->default_action = "SCMP_ACT_ALLOW";
  spec.linux->seccomp->syscalls.push_back({{"mkdir", "mkdirat"}, "SCMP_ACT_ERRNO", ENOTUNIQ, {}});
  spec.hooks.start_container = {
      {"/bin/sh",
       {"sh", "-c", "mkdir /x 2>/tmp/hook; grep CapPrm /proc/self/status >> /tmp/hook"},
       {"PATH=/bin"},
       {}}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, HasSubstr("Name not unique on network"));
  EXPECT_THAT(result.output, HasSubstr("CapPrm:\t0000000000000421\n"));
}

TEST_F(ContainerTest, UnsupportedAndContradictoryRequestsAreRefused) {
  oci::Spec spec = ShellSpec("true");
  spec.process->args.clear();
  EXPECT_THAT(Container::Create(spec, Options()), IsError(Code::kInvalidArgument, HasSubstr("process.args")));
  spec = ShellSpec("true");
  spec.linux->namespaces.push_back({"pid", ""});
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kInvalidArgument, HasSubstr("'pid' is listed twice")));
  spec = ShellSpec("true");
  spec.linux->seccomp = oci::Seccomp();
  spec.linux->seccomp->default_action = "SCMP_ACT_NOTIFY";
  EXPECT_THAT(Container::Create(spec, Options()), IsErrorCode(Code::kUnimplemented));
  spec = ShellSpec("true");
  spec.linux->sysctl = {{"kernel.no_such_knob", "1"}};
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kNotFound, HasSubstr("set sysctl 'kernel.no_such_knob' to '1'")));
}

TEST_F(ContainerTest, SchedulingAttributes) {
  oci::Spec spec =
      ShellSpec("cat /proc/self/sched | grep -E 'policy|prio'; grep Cpus_allowed_list /proc/self/status");
  spec.process->scheduler = oci::Scheduler{"SCHED_BATCH", 5, 0, {}, 0, 0, 0};
  spec.process->io_priority = oci::IoPriority{"IOPRIO_CLASS_BE", 6};
  // Is for other processes than init.
  spec.process->exec_cpu_affinity = oci::ExecCpuAffinity{"0", "0"};
  spec.linux->personality = oci::Personality{"LINUX32", {}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  ASSERT_OK_AND_ASSIGN(const std::string status, ReadFile("/proc/self/status"));
  EXPECT_THAT(status, HasSubstr(result.output.substr(result.output.find("Cpus_allowed_list"))));
  spec.process->scheduler->policy = "SCHED_NOSUCH";
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kInvalidArgument, HasSubstr("'SCHED_NOSUCH'")));
}

class RunningContainerTest : public ContainerTest {
 protected:
  Result<std::unique_ptr<Container>> StartSleeper(oci::Spec spec, CreateOptions options) {
    spec.process->args = {"sleep", "1000"};
    std::unique_ptr<Container> container = TRY(Container::Create(spec, options));
    TRY(container->Start());
    return container;
  }

  Result<RunResult> Exec(Container& container, const oci::Process& process) {
    PipeEnds pipe = TRY(MakePipe());
    ExecOptions options;
    options.stdio.stdout_fd = pipe.write.get();
    options.stdio.stderr_fd = pipe.write.get();
    StartedProcess started = TRY(container.Exec(process, options));
    pipe.write.Reset();
    return Finish(std::move(started.process), pipe.read.get());
  }

  static oci::Process ShellProcess(const std::string& command) { return *ShellSpec(command).process; }
};

TEST_F(RunningContainerTest, ExecJoinsTheContainer) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Process process = ShellProcess(
      "hostname; pwd; ps | grep -c sleep; grep CapEff /proc/self/status; cat /proc/1/comm; exit 5");
  process.cwd = "/tmp";
  process.capabilities.reset();
  process.user.uid = 1000;
  ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, process));
  EXPECT_THAT(result.output, StartsWith("jailed\n/tmp\n"));
  EXPECT_THAT(result.output, HasSubstr("sleep\n"));
  EXPECT_EQ(result.status.code, 5);
}

TEST_F(RunningContainerTest, ExecInheritsTheCapabilitiesOfTheContainer) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Process process = ShellProcess("grep CapEff /proc/self/status");
  process.capabilities.reset();
  ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, process));
  EXPECT_EQ(result.output, "CapEff:\t0000000000000421\n");
}

TEST_F(RunningContainerTest, ExecHasTheContainersClock) {
  oci::Spec spec = ShellSpec("");
  spec.linux->namespaces.push_back({"time", ""});
  spec.linux->time_offsets = {{"boottime", {1000000, 0}}};
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, Options()));
  ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, ShellProcess("cat /proc/uptime")));
  EXPECT_GE(std::atof(result.output.c_str()), 1000000.0);
}

TEST_F(RunningContainerTest, ExecHasItsCpuAffinity) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Process process = ShellProcess("grep Cpus_allowed_list /proc/self/status");
  ASSERT_OK_AND_ASSIGN(const RunResult all, Exec(*container, process));
  process.exec_cpu_affinity = oci::ExecCpuAffinity{"0", ""};
  ASSERT_OK_AND_ASSIGN(RunResult result, Exec(*container, process));
  EXPECT_EQ(result.output, all.output);
  process.exec_cpu_affinity = oci::ExecCpuAffinity{"", "0"};
  ASSERT_OK_AND_ASSIGN(result, Exec(*container, process));
  EXPECT_EQ(result.output, "Cpus_allowed_list:\t0\n");
}

TEST_F(RunningContainerTest, NamesAndParametersOfAJoinedNamespaceAreSet) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Spec spec = ShellSpec(
      "hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax; touch /dev/mqueue/q && ls "
      "/dev/mqueue");
  spec.hostname = "second";
  spec.domainname = "domain";
  for (oci::Namespace& entry : spec.linux->namespaces) {
    if (entry.type == "uts" || entry.type == "ipc")
      entry.path = fmt::format("/proc/{}/ns/{}", container->init_pid(), entry.type);
  }
  spec.linux->sysctl = {{"kernel.msgmax", "5432"}};
  spec.linux->namespaces.push_back({"user", ""});
  spec.linux->uid_mappings = {{0, 100000, 65536}};
  spec.linux->gid_mappings = {{0, 100000, 65536}};
  for (const char* name : {"", "/tmp", "/proc", "/dev", "/sys"})
    ASSERT_EQ(chown((rootfs_ + name).c_str(), 100000, 100000), 0);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "second\ndomain\n5432\nq\n");
}

TEST_F(RunningContainerTest, ExecReportsErrorsAtOnce) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Process process = ShellProcess("");
  process.args = {"nosuch"};
  EXPECT_THAT(container->Exec(process, {}),
              IsError(Code::kNotFound, "execute 'nosuch': executable file not found in $PATH"));
  process = ShellProcess("true");
  process.cwd = "/nosuch";
  EXPECT_THAT(container->Exec(process, {}), IsError(Code::kNotFound, HasSubstr("'/nosuch'")));
}

TEST_F(RunningContainerTest, ExecWithTerminal) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  oci::Process process = ShellProcess("tty; stty size; echo open > /dev/tty");
  process.terminal = true;
  process.console_size = {20, 70};
  ASSERT_OK_AND_ASSIGN(StartedProcess started, container->Exec(process, {}));
  ASSERT_OK_AND_ASSIGN(const RunResult result, Finish(std::move(started.process), started.terminal.get()));
  EXPECT_EQ(result.output, "/dev/pts/0\r\n20 70\r\nopen\r\n");
}

TEST_F(RunningContainerTest, KillAllEndsInitAndExecIsRefusedThen) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  ASSERT_OK_AND_ASSIGN(StartedProcess started, container->Exec(ShellProcess("sleep 1000"), {}));
  ChildProcess child = std::move(started.process);
  ASSERT_OK(container->KillAll());
  const Deadline deadline = Deadline::After(std::chrono::seconds(30));
  // First: the init of a pid namespace cannot be reaped before the others in it.
  ASSERT_OK_AND_ASSIGN(const ExitStatus child_status, child.Wait(deadline));
  EXPECT_EQ(child_status.signal, SIGKILL);
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, container->TakeInit().Wait(deadline));
  EXPECT_EQ(status.signal, SIGKILL);
  EXPECT_THAT(container->Exec(ShellProcess("true"), {}),
              IsError(Code::kFailedPrecondition, "the container is not running"));
}

// With a cgroup, where this machine has a cgroup2 file system.
class ContainerCgroupTest : public RunningContainerTest {
 protected:
  void SetUp() override {
    RunningContainerTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_OK_AND_ASSIGN(const std::vector<linux::MountInfo> mounts, linux::ReadMountInfo());
    for (const linux::MountInfo& mount : mounts) {
      if (mount.fs_type == "cgroup2" && !mount.HasOption("ro")) root_ = mount.mount_point;
    }
    if (root_.empty()) GTEST_SKIP() << "needs a cgroup2 file system";
  }
  void TearDown() override {
    if (root_.empty()) return;
    EXPECT_EQ(rmdir((root_ + Parent()).c_str()), 0);
  }
  static std::string Parent() { return fmt::format("/kata-jail-test-{}", getpid()); }
  CreateOptions CgroupOptions() const {
    CreateOptions options = Options();
    options.cgroup_root = root_;
    options.cgroup_path = Parent() + "/c1";
    return options;
  }
  std::string root_;
};

TEST_F(ContainerCgroupTest, HoldsAllProcessesPausesAndKills) {
  const Deadline deadline = Deadline::After(std::chrono::seconds(60));
  ASSERT_OK_AND_ASSIGN(auto container, StartSleeper(ShellSpec(""), CgroupOptions()));
  EXPECT_EQ(container->cgroup_directory(), root_ + Parent() + "/c1");
  ASSERT_OK_AND_ASSIGN(StartedProcess started, container->Exec(ShellProcess("exec sleep 1000"), {}));
  ChildProcess child = std::move(started.process);
  ASSERT_OK_AND_ASSIGN(const std::vector<pid_t> pids, container->Processes());
  EXPECT_THAT(pids, testing::UnorderedElementsAre(container->init_pid(), child.pid()));
  ASSERT_OK(container->Pause(deadline));
  EXPECT_THAT(container->Exec(ShellProcess("true"), {}),
              IsError(Code::kFailedPrecondition, "the container is paused"));
  ASSERT_OK(container->Resume(deadline));
  EXPECT_OK(Exec(*container, ShellProcess("true")));
  ASSERT_OK(container->Pause(deadline));
  ASSERT_OK(container->KillAll());
  ASSERT_OK(child.Wait(deadline));
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, container->TakeInit().Wait(deadline));
  EXPECT_EQ(status.signal, SIGKILL);
  container.reset();
  EXPECT_FALSE(PathExists(root_ + Parent() + "/c1"));
}

TEST_F(ContainerCgroupTest, CgroupNamespaceAndMountShowOnlyTheOwnCgroup) {
  for (const bool own_namespace : {true, false}) {
    oci::Spec spec = ShellSpec("cat /sys/fs/cgroup/cgroup.procs; ls -d /sys/fs/cgroup/cgroup.kill; true");
    spec.mounts.push_back(
        {"/sys/fs/cgroup", "cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}, {}, {}});
    if (own_namespace) spec.linux->namespaces.push_back({"cgroup", ""});
    ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec, CgroupOptions()));
    EXPECT_THAT(result.output, StartsWith("1\n")) << own_namespace;
    EXPECT_THAT(result.output, HasSubstr("/sys/fs/cgroup/cgroup.kill\n")) << own_namespace;
  }
}

TEST_F(ContainerCgroupTest, ExecEntersTheCgroupNamespace) {
  oci::Spec spec = ShellSpec("");
  spec.linux->namespaces.push_back({"cgroup", ""});
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, CgroupOptions()));
  ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, ShellProcess("grep ^0: /proc/self/cgroup")));
  EXPECT_EQ(result.output, "0::/\n");
}

TEST_F(ContainerCgroupTest, DeviceRulesAreEnforcedAndReplaced) {
  oci::Spec spec = ShellSpec("");
  spec.linux->devices.push_back({"/dev/kmsg", "c", 1, 11, 0666, {}, {}});
  // The kernel log asks for it besides.
  for (auto* set : {&spec.process->capabilities->bounding, &spec.process->capabilities->effective,
                    &spec.process->capabilities->permitted}) {
    set->push_back("CAP_SYSLOG");
  }
  spec.linux->resources = oci::Resources();
  spec.linux->resources->devices = {{false, "a", {}, {}, "rwm"}};
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, CgroupOptions()));
  oci::Process read_kmsg = ShellProcess("true < /dev/kmsg && true < /dev/zero && echo both");
  read_kmsg.capabilities.reset();
  ASSERT_OK_AND_ASSIGN(RunResult result, Exec(*container, read_kmsg));
  EXPECT_THAT(result.output, HasSubstr("/dev/kmsg: Operation not permitted"));
  oci::Resources update;
  update.devices = {{false, "a", {}, {}, "rwm"}, {true, "c", 1, 11, "r"}};
  ASSERT_OK(container->Update(update));
  ASSERT_OK_AND_ASSIGN(result, Exec(*container, read_kmsg));
  EXPECT_EQ(result.output, "both\n");
  ASSERT_OK_AND_ASSIGN(result, Exec(*container, ShellProcess("echo x > /dev/kmsg")));
  EXPECT_THAT(result.output, HasSubstr("Operation not permitted"));
}

TEST_F(ContainerCgroupTest, LimitsThatTheCgroupCannotTakeAreNamed) {
  oci::Spec spec = ShellSpec("true");
  spec.linux->resources = oci::Resources();
  spec.linux->resources->unified = {{"nosuch.max", "1"}};
  EXPECT_THAT(Container::Create(spec, CgroupOptions()),
              IsError(Code::kNotFound, HasSubstr("set 'nosuch.max' to '1'")));
}

}  // namespace
}  // namespace kata::jail
