// What the process inside of a container finds of identity, limits, terminal and hooks, and what is refused.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>

#include "jail/container_fixture_test.h"
#include "jail/sealed_executable.h"
#include "linux/namespaces.h"

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

TEST_F(ContainerTest, CapabilitiesUserGroupsAndNoNewPrivileges) {
  oci::Spec spec = ShellSpec("id -u; id -g; id -G; grep -E 'Cap|NoNewPrivs' /proc/self/status; umask; env");
  spec.process->user.uid = 1000;
  spec.process->user.gid = 1001;
  spec.process->user.additional_gids = {1002, 5, 1002};
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
  EXPECT_THAT(Container::Create(spec, Options()), IsError(_, "execute '/etc': permission denied"));
  // Executable for root only, but the process is another user.
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/mine", "#!/bin/sh\n", 0700));
  spec.process->args = {"mine"};
  spec.process->user.uid = 1000;
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(Code::kPermissionDenied, "execute 'mine': permission denied"));
}

TEST_F(ContainerTest, BadWorkingDirectoryIsReportedAtCreate) {
  oci::Spec spec = ShellSpec("pwd");
  spec.process->cwd = "/etc/passwd";
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(_, "change to working directory '/etc/passwd': Not a directory"));
  spec.process->cwd = "/tmp";
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "/tmp\n");
}

TEST_F(ContainerTest, MissingWorkingDirectoryIsMade) {
  oci::Spec spec = ShellSpec("pwd; stat -c '%a %u:%g' . ..");
  spec.root->readonly = true;
  spec.process->user.uid = 1000;
  spec.process->cwd = "/work/../work/new/";
  ASSERT_OK_AND_ASSIGN(RunResult result, Run(spec));
  EXPECT_EQ(result.output, "/work/new\n755 0:0\n755 0:0\n");

  ASSERT_EQ(symlink("../../linked", (rootfs_ + "/tmp/link").c_str()), 0);
  spec.process->cwd = "/tmp/link";
  ASSERT_OK_AND_ASSIGN(result, Run(spec));
  EXPECT_THAT(result.output, StartsWith("/linked\n"));

  spec.mounts.push_back({"/mnt", "tmpfs", "tmpfs", {"ro"}, {}, {}});
  spec.process->cwd = "/mnt/below";
  ASSERT_OK_AND_ASSIGN(result, Run(spec));
  EXPECT_THAT(result.output, StartsWith("/mnt/below\n"));
  spec.process->cwd = "/sys/below";
  EXPECT_THAT(Container::Create(spec, Options()),
              IsError(_, HasSubstr("make working directory '/sys/below'")));
}

TEST_F(ContainerTest, MissingWorkingDirectoryBelongsToTheRootOfItsUserNamespace) {
  oci::Spec spec = ShellSpec("stat -c %u:%g .");
  spec.process->cwd = "/work";
  MapIds(spec);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "0:0\n");
  struct stat info{};
  ASSERT_EQ(stat((rootfs_ + "/work").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 100000u);
}

TEST_F(ContainerTest, WorkingDirectoryOnlyItsOwnerMayEnter) {
  const std::string directory = rootfs_ + "/tmp/private";
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  ASSERT_EQ(chown(directory.c_str(), 1000, 1000), 0);
  oci::Spec spec = ShellSpec("pwd");
  spec.process->cwd = "/tmp/private";
  spec.process->capabilities.emplace();
  for (const uint32_t uid : {1000u, 0u, 1001u}) {
    spec.process->user.uid = spec.process->user.gid = uid;
    ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
    EXPECT_EQ(result.output, "/tmp/private\n") << "as " << uid;
  }
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

TEST_F(ContainerTest, AFilterNeedsNotAllowWhatOnlyTheSetUpDoes) {
  oci::Spec spec = ShellSpec("");
  spec.process->args = {"/bin/true"};
  spec.process->capabilities->inheritable = spec.process->capabilities->ambient = {"CAP_KILL"};
  spec.linux->seccomp = oci::Seccomp();
  spec.linux->seccomp->default_action = "SCMP_ACT_KILL_PROCESS";
  const std::vector<std::string> calls{
      "execve", "brk",       "mmap",     "mprotect",   "arch_prctl", "set_tid_address", "set_robust_list",
      "rseq",   "prlimit64", "readlink", "readlinkat", "getrandom",  "getuid",          "exit_group"};
  spec.linux->seccomp->syscalls.push_back({calls, "SCMP_ACT_ALLOW", {}, {}});
  // busybox calls it, and takes no for an answer.
  spec.linux->seccomp->syscalls.push_back({{"prctl"}, "SCMP_ACT_ERRNO", {}, {}});
  spec.hooks.start_container = {{"/bin/true", {"true"}, {}, {}}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.status.Describe(), "exit status 0");
}

TEST_F(ContainerTest, UserNamespaceMapsIds) {
  oci::Spec spec =
      ShellSpec("id -u; cat /proc/self/uid_map; touch /tmp/mine; echo ok > /dev/null && echo dev");
  MapIds(spec);
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_THAT(result.output, testing::MatchesRegex("0\n +0 +100000 +65536\ndev\n"));
  struct stat info{};
  ASSERT_EQ(stat((rootfs_ + "/tmp/mine").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 100000u);
}

TEST_F(ContainerTest, DevicesInAUserNamespaceAreThoseOfTheirNumbers) {
  oci::Spec spec = ShellSpec(
      "stat -c '%a %u:%g %t:%T' /dev/own /dev/deep/own; echo x > /dev/own && echo written; head -c2 "
      "/dev/deep/own | wc -c; "
      "stat -c '%a %t:%T' /dev/null; grep -c ' /dev/own ' /proc/self/mountinfo");
  MapIds(spec);
  // Nothing of the agent's /dev has these paths.
  spec.linux->devices = {{"/dev/own", "c", 1, 3, 0622, 5, 6}, {"/dev/deep/own", "c", 1, 5, {}, {}, {}}};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "622 5:6 1:3\n666 65534:65534 1:5\nwritten\n2\n666 1:3\n1\n");
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

TEST_F(ContainerTest, TerminalKeepsNewlines) {
  oci::Spec spec = ShellSpec("tty");
  spec.process->terminal = true;
  CreateOptions options = Options();
  options.stdio.plain_newlines = true;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Container> container, Container::Create(spec, options));
  const UniqueFd terminal = container->TakeTerminal();
  ASSERT_OK(container->Start());
  ASSERT_OK_AND_ASSIGN(const RunResult result, Finish(container->TakeInit(), terminal.get()));
  EXPECT_EQ(result.output, "/dev/pts/0\n");
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
  MapIds(spec);
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
                                {"/bin/sh", {"sh", "-c", "echo second $COLOR $HOME >> /tmp/order"}, {}, {}}};
  CreateOptions options = Options();
  options.bundle = "/run/bundle";
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec, options));
  EXPECT_EQ(result.output,
            R"({"ociVersion":"1.1.0","id":"c1","status":"created","pid":1,"bundle":"/run/bundle",)"
            R"("annotations":{"key":"value"}}first b zero one 1000
CapEff:	0000000000000000
0
1
2
3
second blue /home/u
program
)");
}

TEST_F(ContainerTest, AStartHookThatFailsIsNamedAndEndsTheContainer) {
  const auto start = [&](const oci::Hook& hook) -> Status {
    oci::Spec spec = ShellSpec("touch /tmp/ran");
    spec.hooks.start_container = {hook};
    const std::unique_ptr<Container> container = TRY(Container::Create(spec, Options()));
    Status status = container->Start();
    TRY(WaitFd(container->init_pidfd(), POLLIN, Deadline::After(std::chrono::seconds(30)), "end of init"));
    return status;
  };
  EXPECT_THAT(start({"/bin/sh", {"sh", "-c", "echo no table >&2; exit 3"}, {}, {}}),
              IsError(Code::kFailedPrecondition,
                      "error running hook: hooks.startContainer[0]: '/bin/sh': exit status 3: no table"));
  EXPECT_THAT(start({"/bin/nosuch", {}, {}, {}}),
              IsError(_,
                      "error running hook: hooks.startContainer[0]: '/bin/nosuch': exit status 127: execute: "
                      "No such file or "
                      "directory"));
  EXPECT_THAT(start({"/bin/sleep", {"sleep", "1000"}, {}, 1}),
              IsError(Code::kDeadlineExceeded,
                      "error running hook: hooks.startContainer[0]: '/bin/sleep': did not end within 1 s"));
  EXPECT_FALSE(PathExists(rootfs_ + "/tmp/ran"));
}

TEST_F(ContainerTest, ALimitOfFileSizesIsNotForTheStreamsOfAStartHook) {
  oci::Spec spec = ShellSpec("echo program");
  spec.process->rlimits = {{"RLIMIT_FSIZE", 0, 0}};
  const std::string script = "cat && cat /bin/busybox && (sleep 1000 & :) && echo why >&2 && exit $STATUS";
  const auto hook = [&](const char* status) {
    return oci::Hook{"/bin/sh", {"sh", "-c", script}, {"PATH=/bin", fmt::format("STATUS={}", status)}, 60};
  };
  spec.hooks.start_container = {hook("0"), hook("0")};
  ASSERT_OK_AND_ASSIGN(const RunResult result, Run(spec));
  EXPECT_EQ(result.output, "program\n");
  spec.hooks.start_container = {hook("0"), hook("3")};
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Container> container, Container::Create(spec, Options()));
  EXPECT_THAT(container->Start(), IsError(Code::kFailedPrecondition,
                                          testing::MatchesRegex("(.|\n)*hooks.startContainer.1.(.|\n)*why")));
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

}  // namespace
}  // namespace kata::jail
