// Processes beside init, and what is done to a running container.
#include <algorithm>
#include <csignal>

#include "jail/container_fixture_test.h"
#include "jail/request.h"
#include "linux/cgroup2.h"
#include "linux/mountinfo.h"

namespace kata::jail {
namespace {

using test::IsError;
using testing::HasSubstr;
using testing::StartsWith;

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

TEST_F(RunningContainerTest, ExecHasItsOwnUmaskElseThatOfTheContainer) {
  oci::Spec spec = ShellSpec("");
  spec.process->user.umask = 077;
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, Options()));
  oci::Process process = ShellProcess("umask");
  ASSERT_OK_AND_ASSIGN(RunResult result, Exec(*container, process));
  EXPECT_EQ(result.output, "0077\n");
  process.user.umask = 0137;
  ASSERT_OK_AND_ASSIGN(result, Exec(*container, process));
  EXPECT_EQ(result.output, "0137\n");
}

TEST_F(RunningContainerTest, ProcessesShareTheContainersSessionKeyring) {
  if (!PathExists("/proc/keys")) GTEST_SKIP() << "needs a kernel with keyrings";
  for (const bool user_namespace : {false, true}) {
    oci::Spec spec = ShellSpec("");
    if (user_namespace) MapIds(spec);
    CreateOptions options = Options();
    options.container_id = user_namespace ? "keys-mapped" : "keys";
    ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, options));
    const oci::Process process =
        ShellProcess(fmt::format("grep ' _ses.{}:' /proc/keys", options.container_id));
    ASSERT_OK_AND_ASSIGN(const RunResult first, Exec(*container, process));
    ASSERT_OK_AND_ASSIGN(const RunResult second, Exec(*container, process));
    // With its number in front; there is one only.
    EXPECT_EQ(std::count(first.output.begin(), first.output.end(), '\n'), 1) << first.output;
    EXPECT_EQ(first.output.substr(0, first.output.find(' ')),
              second.output.substr(0, second.output.find(' ')));
  }
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
  MapIds(spec);
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

TEST_F(RunningContainerTest, EndsWithInitAndRefusesToExecThen) {
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), Options()));
  ASSERT_OK_AND_ASSIGN(StartedProcess started, container->Exec(ShellProcess("sleep 1000"), {}));
  ChildProcess child = std::move(started.process);
  ASSERT_OK(SignalPidfd(container->init_pidfd(), SIGKILL));
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
  ASSERT_OK_AND_ASSIGN(const linux::CgroupDir cgroup, linux::CgroupDir::Open(container->cgroup_directory()));
  ASSERT_OK_AND_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  EXPECT_THAT(pids, testing::UnorderedElementsAre(container->init_pid(), child.pid()));
  ASSERT_OK(container->Pause(deadline));
  EXPECT_THAT(container->Exec(ShellProcess("true"), {}),
              IsError(Code::kFailedPrecondition, "the container is paused"));
  ASSERT_OK(container->Resume(deadline));
  EXPECT_OK(Exec(*container, ShellProcess("true")));
  ASSERT_OK(container->Pause(deadline));
  ASSERT_OK(cgroup.Kill());
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

TEST_F(ContainerCgroupTest, ExecInACgroupBelowTheContainers) {
  oci::Spec spec = ShellSpec("");
  spec.linux->namespaces.push_back({"cgroup", ""});
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, CgroupOptions()));
  const std::string directory = container->cgroup_directory();
  ASSERT_OK(MakeDirectories(directory + "/sub/deep"));
  const oci::Process place = ShellProcess("grep ^0: /proc/self/cgroup");
  for (const auto& [cgroup, expected] :
       {std::pair("/", "0::/\n"), {"sub", "0::/sub\n"}, {"/sub/deep/", "0::/sub/deep\n"}}) {
    ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, place, cgroup));
    EXPECT_EQ(result.output, expected);
  }
  for (const char* outside : {"..", "sub/../..", "sub/.."}) {
    EXPECT_THAT(Exec(*container, place, outside),
                IsError(Code::kInvalidArgument, HasSubstr("is not a sub cgroup path")));
  }
  EXPECT_THAT(Exec(*container, place, "nosuch"), IsError(Code::kNotFound, HasSubstr("'./nosuch'")));
}

// The situation in a container with systemd: init has moved to a cgroup below and given controllers to those.
TEST_F(ContainerCgroupTest, ExecFollowsInitOutOfACgroupThatTakesNoProcesses) {
  oci::Spec spec = ShellSpec("");
  spec.linux->namespaces.push_back({"cgroup", ""});
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(spec, CgroupOptions()));
  const std::string directory = container->cgroup_directory();
  ASSERT_OK_AND_ASSIGN(const std::string controllers, ReadFile(directory + "/cgroup.controllers"));
  if (controllers.find_first_not_of('\n') == std::string::npos)
    GTEST_SKIP() << "needs a controller of version 2";
  ASSERT_OK(MakeDirectories(directory + "/init.scope"));
  ASSERT_OK(WriteKnob(directory + "/init.scope/cgroup.procs", fmt::format("{}", container->init_pid())));
  ASSERT_OK(WriteKnob(directory + "/cgroup.subtree_control",
                      "+" + controllers.substr(0, controllers.find_first_of(" \n"))));
  const oci::Process place = ShellProcess("grep ^0: /proc/self/cgroup");
  ASSERT_OK_AND_ASSIGN(const RunResult result, Exec(*container, place));
  EXPECT_EQ(result.output, "0::/init.scope\n");
  EXPECT_THAT(Exec(*container, place, "/"),
              IsError(Code::kFailedPrecondition, HasSubstr("gives controllers to cgroups below it")));
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

// execve closes descriptors only after it has found the program: what the agent hands over must be no way to
// its files.
TEST_F(ContainerCgroupTest, DescriptorsOfTheAgentLeadToNoProgram) {
  const std::string outside = directory_->path() + "/outside";
  ASSERT_OK_AND_ASSIGN(const std::string busybox, ReadFile("/bin/busybox"));
  ASSERT_OK(WriteFileAtomic(outside, busybox, 0755));
  const auto way_out = [&](int fd) {
    return fmt::format("/proc/self/fd/{}/../../../../../../../..{}", fd, outside);
  };
  const auto points_to = [&](const std::string& name, const std::string& target) {
    (void)unlink((rootfs_ + name).c_str());
    return symlink(target.c_str(), (rootfs_ + name).c_str()) == 0;
  };
  ASSERT_TRUE(points_to("/busybox", way_out(kCgroupFd)));  // selects its applet by its name
  oci::Spec spec = ShellSpec("");
  spec.process->args = {"/busybox", "true"};
  const auto missing = [](const std::string& program) {
    return IsError(Code::kNotFound, fmt::format("execute '{}': no such file or directory", program));
  };
  EXPECT_THAT(Container::Create(spec, CgroupOptions()), missing("/busybox"));
  spec.process->args = {way_out(kCgroupFd), "true"};
  EXPECT_THAT(Container::Create(spec, CgroupOptions()), missing(spec.process->args[0]));

  ASSERT_OK(WriteFileAtomic(rootfs_ + "/script", fmt::format("#!{}\n", way_out(kCgroupFd)), 0755));
  spec.process->args = {"/script"};
  {
    ASSERT_OK_AND_ASSIGN(const auto container, Container::Create(spec, CgroupOptions()));
    EXPECT_THAT(container->Start(), missing("/script"));
  }
  oci::Spec with_hook = ShellSpec("true");
  with_hook.hooks.start_container = {{"/busybox", {"busybox", "true"}, {}, {}}};
  {
    ASSERT_OK_AND_ASSIGN(const auto container, Container::Create(with_hook, CgroupOptions()));
    EXPECT_THAT(container->Start(), IsError(testing::_, HasSubstr("execute: No such file or directory")));
  }
  ASSERT_OK_AND_ASSIGN(const auto container, StartSleeper(ShellSpec(""), CgroupOptions()));
  oci::Process process = ShellProcess("");
  for (int fd = 3; fd < 20; ++fd) {
    ASSERT_TRUE(points_to("/busybox", way_out(fd)));
    process.args = {"/busybox", "true"};
    EXPECT_THAT(container->Exec(process, {}), testing::Not(test::IsOk())) << fd;
  }
  process.args = {"/script"};
  EXPECT_THAT(container->Exec(process, {}), missing("/script"));
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
