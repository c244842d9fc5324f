// kata-runtime as a process: exit codes, texts, and what is left behind, as far as no virtual machine is
// needed.
#include "cli/program.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/utf8.h"
#include "cgroup/hierarchies.h"
#include "linux/namespaces.h"
#include "sandbox/state_directory.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using Json = nlohmann::json;

constexpr std::chrono::seconds kRunTimeout{120};

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Ends this process at its first system call of this number, as if it had been killed there.
void DieAt(int system_call) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(system_call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
    _exit(99);
  }
}

// As on a host that systemd has booted.
void PlaySystemd() {
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
      mount("none", "/run", "tmpfs", 0, nullptr) < 0 || !MakeDirectories("/run/systemd/system")) {
    _exit(99);
  }
}

class ProgramTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    auto directory = TempDir::Create();
    ASSERT_OK(directory);
    directory_.emplace(std::move(*directory));
    for (const char* name : {"qemu", "virtiofsd"}) ASSERT_OK(WriteFileAtomic(Path(name), "", 0755));
    for (const char* name : {"vmlinux", "initrd"}) ASSERT_OK(WriteFileAtomic(Path(name), "x"));
    ASSERT_OK(WriteFileAtomic(
        Path("configuration.toml"),
        fmt::format(
            "[hypervisor.qemu]\npath = \"{0}/qemu\"\nkernel = \"{0}/vmlinux\"\ninitrd = \"{0}/initrd\"\n"
            "virtio_fs_daemon = \"{0}/virtiofsd\"\n",
            directory_->path())));
    // Only what a test puts there is found as sandbox server and kata-shim.
    ASSERT_OK(MakeDirectories(Path("bin")));
    ASSERT_OK(MakeDirectories(Path("bundle/rootfs")));
    ASSERT_EQ(Run({"spec", "--bundle", Path("bundle")}).exit_code, 0);
    ChangeSpec([&](Json& spec) {
      spec["process"]["terminal"] = false;
      spec["linux"]["cgroupsPath"] = "/" + CgroupName();
    });
  }

  // The tests run side by side, and control groups are the machine's.
  std::string CgroupName() const { return directory_->path().substr(directory_->path().rfind('/') + 1); }

  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }

  void ChangeSpec(const std::function<void(Json&)>& change) {
    ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(Path("bundle/config.json")));
    Json spec = Json::parse(text);
    change(spec);
    ASSERT_OK(WriteFileAtomic(Path("bundle/config.json"), spec.dump()));
  }

  void WriteScript(const std::string& name, const std::string& text) {
    ASSERT_OK(WriteFileAtomic(Path("bin/" + name), "#!/bin/sh\n" + text + "\n", 0755));
  }

  // Starts kata-runtime with the test's root, configuration and log in front of `args`; `prepare` comes first
  // in its process.
  ChildProcess Start(const std::vector<std::string>& args, const std::function<void()>& prepare = [] {}) {
    std::vector<std::string> all = {"--root", Path("root"),     "--config",     Path("configuration.toml"),
                                    "--log",  Path("log.json"), "--log-format", "json"};
    all.insert(all.end(), args.begin(), args.end());
    const std::string out = Path("stdout"), err = Path("stderr"), path = Path("bin") + ":/usr/bin:/bin";
    fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      setenv("PATH", path.c_str(), 1);
      const int flags = O_WRONLY | O_CREAT | O_TRUNC;
      dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
      dup2(open(out.c_str(), flags | O_CLOEXEC, 0600), STDOUT_FILENO);
      dup2(open(err.c_str(), flags | O_CLOEXEC, 0600), STDERR_FILENO);
      prepare();
      _exit(RunProgram(all));
    }
    Result<UniqueFd> pidfd = OpenPidfd(pid);
    EXPECT_OK(pidfd);
    return ChildProcess(pid, std::move(*pidfd));
  }

  Outcome Finish(ChildProcess process) {
    Outcome outcome;
    const Result<ExitStatus> status = process.Wait(Deadline::After(kRunTimeout));
    EXPECT_OK(status);
    if (status) outcome.exit_code = status->ShellCode();
    if (const auto text = ReadFile(Path("stdout"))) outcome.out = *text;
    if (const auto text = ReadFile(Path("stderr"))) outcome.err = *text;
    return outcome;
  }

  Outcome Run(const std::vector<std::string>& args) { return Finish(Start(args)); }

  // The message of the one error that a failing run tells, on stderr as well as in the log.
  std::string ErrorOf(const std::vector<std::string>& args) {
    unlink(Path("log.json").c_str());
    return ErrorOf(Run(args));
  }
  std::string ErrorOf(const Outcome& outcome) {
    // 255: of exec.
    EXPECT_THAT(outcome.exit_code, testing::AnyOf(1, 255));
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    const Result<std::string> log = ReadFile(Path("log.json"));
    EXPECT_OK(log);
    if (!log) return {};
    // The form in which engines look for it: the last record of level "error".
    std::string message;
    size_t begin = 0;
    while (begin < log->size()) {
      const size_t end = log->find('\n', begin);
      const Json record = Json::parse(log->substr(begin, end - begin));
      if (record["level"] == "error") message = record["msg"];
      begin = end + 1;
    }
    EXPECT_EQ(outcome.err, ToPlainLine(message, message.size()) + "\n");
    return message;
  }

  std::vector<std::string> StateLeft() {
    Result<std::vector<std::string>> names = ListDirectory(Path("root"));
    return names ? std::move(*names) : std::vector<std::string>();
  }

  // Takes them away, too.
  std::vector<std::string> CgroupsLeft() {
    const Result<cgroup::Hierarchies> hierarchies = cgroup::ReadHierarchies();
    EXPECT_OK(hierarchies);
    std::vector<std::string> left;
    for (const auto& [name, hierarchy] : hierarchies->by_name) {
      const std::string directory = hierarchy.mount_point + "/" + CgroupName();
      if (rmdir(directory.c_str()) == 0 || errno != ENOENT) left.push_back(directory);
    }
    return left;
  }

  std::vector<std::string> Create(const std::string& id) {
    return {"create", "--bundle", Path("bundle"), id};
  }

  std::optional<TempDir> directory_;
};

TEST_F(ProgramTest, ShowsItsVersion) {
  const Outcome outcome = Run({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 3);
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST_F(ProgramTest, ListsNothingWhereNothingIs) {
  EXPECT_EQ(Run({"list"}).out, "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
  EXPECT_EQ(Run({"list", "--format", "json"}).out, "null\n");
  EXPECT_EQ(Run({"list", "-q"}).out, "");
  EXPECT_EQ(ErrorOf({"list", "--format", "xml"}), "list: --format: 'xml' is not one of table, json");
}

TEST_F(ProgramTest, FeaturesIsJsonWithWhatEnginesLookFor) {
  const Outcome outcome = Run({"features"});
  EXPECT_EQ(outcome.exit_code, 0);
  const Json features = Json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(features.is_object());
  EXPECT_EQ(features["ociVersionMin"], "1.0.0");
  EXPECT_THAT(features["linux"]["namespaces"].get<std::vector<std::string>>(), testing::Contains("network"));
  EXPECT_THAT(
      features["mountOptions"].get<std::vector<std::string>>(),
      AllOf(testing::Contains("ro"), testing::Contains("rbind"), testing::Not(testing::Contains("size=1"))));
  EXPECT_EQ(features["linux"]["cgroup"]["v2"], true);
  EXPECT_EQ(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
  EXPECT_THAT(features["linux"]["seccomp"]["actions"].get<std::vector<std::string>>(),
              AllOf(testing::Contains("SCMP_ACT_ERRNO"), testing::Not(testing::Contains("SCMP_ACT_NOTIFY"))));
  // The members of runc 1.2's.
  for (const char* member :
       {"/ociVersionMax", "/hooks", "/linux/capabilities", "/linux/cgroup/v1", "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser", "/linux/cgroup/rdma", "/linux/seccomp/enabled",
        "/linux/seccomp/operators", "/linux/seccomp/archs", "/linux/seccomp/knownFlags",
        "/linux/seccomp/supportedFlags", "/linux/apparmor/enabled", "/linux/selinux/enabled",
        "/linux/intelRdt/enabled", "/annotations", "/potentiallyUnsafeConfigAnnotations"}) {
    EXPECT_TRUE(features.contains(Json::json_pointer(member))) << member;
  }
}

TEST_F(ProgramTest, SpecDoesNotOverwrite) {
  EXPECT_EQ(
      ErrorOf({"spec", "--bundle", Path("bundle")}),
      fmt::format("write specification: file '{}' exists, remove it first", Path("bundle/config.json")));
  EXPECT_THAT(ErrorOf({"spec", "--bundle", Path("nosuch")}), HasSubstr("No such file or directory"));
}

TEST_F(ProgramTest, UnknownContainersDoNotExist) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"state", "c1"},
                                               {"start", "c1"},
                                               {"kill", "c1", "9"},
                                               {"delete", "c1"},
                                               {"exec", "c1", "true"},
                                               {"pause", "c1"},
                                               {"resume", "c1"},
                                               {"update", "c1"},
                                               {"events", "--stats", "c1"},
                                               {"ps", "c1"},
                                               {"ps", "--format", "json", "c1"}}) {
    EXPECT_THAT(ErrorOf(args), testing::MatchesRegex(".* container 'c1': container does not exist"));
  }
  EXPECT_EQ(Run({"delete", "--force", "c1"}).exit_code, 0);
}

TEST_F(ProgramTest, BadIdsAreRefusedBeforeAPathIsMadeOfThem) {
  for (const std::string& id : {std::string("../escape"), std::string("a/b"), std::string(), std::string("."),
                                std::string(".."), std::string(2000, 'x'), std::string("a\nb")}) {
    EXPECT_THAT(ErrorOf(Create(id)), HasSubstr("container id"));
    EXPECT_THAT(ErrorOf({"state", id}), HasSubstr("container id"));
  }
  EXPECT_FALSE(PathExists(Path("escape")));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, BadBundlesAreNamed) {
  EXPECT_EQ(ErrorOf({"create", "--bundle", "/nosuch/bundle", "c1"}),
            "create container 'c1': open bundle '/nosuch/bundle': No such file or directory");
  EXPECT_THAT(ErrorOf({"create", "--bundle", Path("qemu"), "c1"}), HasSubstr("is not a directory"));
  EXPECT_THAT(ErrorOf({"create", "--bundle", Path("bin"), "c1"}),
              AllOf(HasSubstr("bin/config.json'"), HasSubstr("No such file or directory")));

  ChangeSpec([](Json& spec) { spec["root"]["path"] = "nosuchroot"; });
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("/bundle/nosuchroot': No such file or directory"));
  ChangeSpec([](Json& spec) {
    spec["root"]["path"] = "rootfs";
    spec["process"]["args"] = "sh";
  });
  EXPECT_THAT(ErrorOf(Create("c1")), AllOf(HasSubstr("config.json"), HasSubstr("process.args")));
  ChangeSpec([](Json& spec) { spec.erase("process"); });
  EXPECT_THAT(ErrorOf(Create("c1")), AllOf(HasSubstr("config.json"), HasSubstr("process")));
  ASSERT_OK(WriteFileAtomic(Path("bundle/config.json"), "{\"ociVersion\": "));
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("config.json"));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, WhatIsLeftOutIsNamed) {
  ChangeSpec([](Json& spec) {
    spec["process"]["capabilities"]["bounding"] = {"CAP_KILL", "CAP_SYS_ADMN"};
    spec["process"]["capabilities"]["permitted"] = {"CAP_SYS_ADMN", "KILL"};
    spec["linux"]["resources"] = {{"network", {{"classID", 7}}}, {"cpu", {{"realtimeRuntime", 1000}}}};
  });
  ErrorOf(Create("c1"));
  ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(Path("log.json")));
  std::vector<std::string> told;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const Json record = Json::parse(line);
    if (record["level"] == "warning")
      told.push_back(record["field"].get<std::string>() + " " + record.value("capability", ""));
  }
  EXPECT_THAT(told, testing::ElementsAre("process.capabilities.bounding[1] CAP_SYS_ADMN",
                                         "process.capabilities.permitted[1] KILL", "linux.resources.network ",
                                         "linux.resources.cpu "));
}

TEST_F(ProgramTest, TerminalsFollowRuncsRules) {
  EXPECT_THAT(ErrorOf({"create", "--bundle", Path("bundle"), "--console-socket", Path("s"), "c1"}),
              HasSubstr("cannot use a console socket"));
  ChangeSpec([](Json& spec) { spec["process"]["terminal"] = true; });
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("without a console socket"));
  EXPECT_THAT(ErrorOf({"run", "-d", "--bundle", Path("bundle"), "c1"}),
              HasSubstr("without a console socket"));
  EXPECT_THAT(ErrorOf({"create", "--bundle", Path("bundle"), "--console-socket", Path("nosuchsocket"), "c1"}),
              HasSubstr("nosuchsocket': No such file or directory"));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, HostNamespacesOfProcessesAreRefused) {
  for (const std::string type : {"pid", "ipc"}) {
    ChangeSpec([&type](Json& spec) {
      Json namespaces = Json::array();
      for (const char* other : {"pid", "ipc", "network", "mount"}) {
        if (other != type) namespaces.push_back({{"type", other}});
      }
      spec["linux"]["namespaces"] = namespaces;
    });
    EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("host " + type + " namespace is not supported"));
    const std::string path = "/proc/self/ns/" + type;
    ChangeSpec([&](Json& spec) { spec["linux"]["namespaces"].push_back({{"type", type}, {"path", path}}); });
    EXPECT_THAT(ErrorOf(Create("c1")),
                testing::AllOf(HasSubstr("host " + type + " namespace is not supported"), HasSubstr(path)));
  }
}

TEST_F(ProgramTest, NamespacesOfOtherKernelsAreRefused) {
  // In namespaces of its own, as a container of another runtime.
  ASSERT_OK_AND_ASSIGN(
      ChildProcess other,
      Spawn(Command{.program = "unshare",
                    .args = {"--mount", "--uts", "--ipc", "--cgroup", "--time", "sleep", "1000"}}));
  const auto directory = [&] { return fmt::format("/proc/{}/ns/", other.pid()); };
  ASSERT_OK_AND_ASSIGN(const auto own, linux::NamespaceFd::OfProcess(0, CLONE_NEWUTS));
  const Deadline deadline = Deadline::After(std::chrono::seconds(30));
  for (bool same = true; same;) {
    ASSERT_FALSE(deadline.Passed());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto fd = linux::NamespaceFd::OfProcess(other.pid(), CLONE_NEWUTS);
    same = !fd || *own.IsSameAs(*fd);
  }
  for (const std::string type : {"uts", "ipc", "cgroup", "time", "mount"}) {
    ChangeSpec([&](Json& spec) {
      Json namespaces = Json::array();
      for (const char* kind : {"pid", "ipc", "network", "mount"}) {
        if (kind != type) namespaces.push_back({{"type", kind}});
      }
      namespaces.push_back({{"type", type}, {"path", directory() + (type == "mount" ? "mnt" : type)}});
      spec["linux"]["namespaces"] = namespaces;
    });
    EXPECT_THAT(ErrorOf(Create("c1")),
                testing::AllOf(HasSubstr(type + " namespace"), HasSubstr(directory())));
  }
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, HostNetworkIsRefused) {
  const auto set_namespaces = [this](const Json& network) {
    ChangeSpec([&network](Json& spec) {
      Json namespaces = Json::array({{{"type", "pid"}}, {{"type", "ipc"}}, {{"type", "mount"}}});
      if (!network.is_null()) namespaces.push_back(network);
      spec["linux"]["namespaces"] = namespaces;
    });
  };
  set_namespaces(nullptr);
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("host network is not supported"));
  set_namespaces({{"type", "network"}, {"path", "/proc/self/ns/net"}});
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("host network is not supported"));
  set_namespaces({{"type", "network"}, {"path", "/nosuch/netns"}});
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("'/nosuch/netns': No such file or directory"));
  set_namespaces({{"type", "network"}, {"path", "/proc/self/ns/pid"}});
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("expected namespace of type network, found pid"));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, APidFileThatCannotBeWrittenIsFoundEarly) {
  EXPECT_EQ(ErrorOf({"create", "--bundle", Path("bundle"), "--pid-file", "/nosuch/pid", "c1"}),
            "create container 'c1': write pid file '/nosuch/pid': No such file or directory");
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, AnExistingContainerIsNotTouched) {
  ASSERT_OK_AND_ASSIGN(const auto directory, sandbox::StateDirectory::Create(Path("root"), "c1"));
  sandbox::ContainerState state;
  state.id = "c1";
  state.bundle = "/some/bundle";
  ASSERT_OK(directory.WriteState(state));
  EXPECT_EQ(ErrorOf(Create("c1")), "create container 'c1': container with given ID already exists");
  ASSERT_OK_AND_ASSIGN(const auto read, directory.ReadState());
  EXPECT_EQ(read.bundle, "/some/bundle");
}

TEST_F(ProgramTest, AContainerWithoutItsServerIsStoppedAndCanBeDeleted) {
  ASSERT_OK_AND_ASSIGN(const auto directory, sandbox::StateDirectory::Create(Path("root"), "c1"));
  sandbox::ContainerState state;
  state.oci_version = "1.0.2";
  state.id = state.sandbox_id = "c1";
  state.bundle = "/some/bundle";
  state.status = "running";
  state.created = "2026-01-02T03:04:05.123456789Z";
  state.owner = "root";
  ASSERT_OK(directory.WriteState(state));

  const Json shown = Json::parse(Run({"state", "c1"}).out);
  EXPECT_EQ(shown["status"], "stopped");
  EXPECT_EQ(shown["id"], "c1");
  EXPECT_EQ(shown["bundle"], "/some/bundle");
  EXPECT_EQ(Run({"list"}).out,
            "ID          PID         STATUS      BUNDLE         CREATED                          OWNER\n"
            "c1          0           stopped     /some/bundle   2026-01-02T03:04:05.123456789Z   root\n");
  EXPECT_THAT(ErrorOf({"kill", "c1", "TERM"}), testing::EndsWith("container not running"));
  EXPECT_EQ(Run({"kill", "--all", "c1", "9"}).exit_code, 0);
  EXPECT_THAT(ErrorOf({"kill", "c1", "NOSUCHSIGNAL"}), HasSubstr("NOSUCHSIGNAL"));
  EXPECT_THAT(ErrorOf({"exec", "c1", "true"}), HasSubstr("container not running"));
  EXPECT_THAT(ErrorOf({"start", "c1"}), testing::EndsWith("cannot start a container that has stopped"));
  EXPECT_FALSE(shown.contains("error"));
  EXPECT_EQ(Run({"delete", "c1"}).exit_code, 0);
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, WhyAContainerHasStoppedIsTold) {
  ASSERT_OK_AND_ASSIGN(const auto directory, sandbox::StateDirectory::Create(Path("root"), "c1"));
  sandbox::ContainerState state;
  state.id = state.sandbox_id = "c1";
  state.status = "running";
  state.server = {getpid(), 1};  // a later process has its pid
  ASSERT_OK(directory.WriteState(state));
  EXPECT_EQ(Json::parse(Run({"state", "c1"}).out)["error"], "its sandbox server has ended");
  state.status = "stopped";
  state.error = "the virtual machine ended: signal 9 (killed)";
  ASSERT_OK(directory.WriteState(state));
  EXPECT_EQ(Json::parse(Run({"state", "c1"}).out)["error"], state.error);
  EXPECT_THAT(ErrorOf({"kill", "c1"}), testing::EndsWith("container not running: " + state.error));
  EXPECT_THAT(ErrorOf({"exec", "c1", "true"}), testing::EndsWith("container not running: " + state.error));
  EXPECT_THAT(ErrorOf({"update", "c1"}), testing::EndsWith("container not running: " + state.error));
  EXPECT_THAT(ErrorOf({"start", "c1"}), testing::EndsWith("that has stopped: " + state.error));
  EXPECT_EQ(Run({"delete", "c1"}).exit_code, 0);
}

TEST_F(ProgramTest, DeleteEndsWhatADeadServerHasLeft) {
  ASSERT_OK_AND_ASSIGN(const auto directory, sandbox::StateDirectory::Create(Path("root"), "c1"));
  Command command;
  command.program = "/bin/sleep";
  command.args = {"600"};
  ASSERT_OK_AND_ASSIGN(ChildProcess shim, Spawn(command));
  ASSERT_OK_AND_ASSIGN(ChildProcess bystander, Spawn(command));
  sandbox::ContainerState state;
  state.id = state.sandbox_id = "c1";
  ASSERT_OK_AND_ASSIGN(const auto start_time, ProcessStartTime(shim.pid()));
  state.shim = {shim.pid(), start_time};
  // A pid that belongs to somebody else by now.
  state.vmm = {bystander.pid(), start_time + 1000000};
  ASSERT_OK(directory.WriteState(state));
  EXPECT_EQ(Run({"delete", "c1"}).exit_code, 0);
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, shim.Wait(Deadline::After(kRunTimeout)));
  EXPECT_EQ(status.signal, SIGKILL);
  ASSERT_OK_AND_ASSIGN(const auto running, bystander.TryWait());
  EXPECT_FALSE(running);
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, MissingProgramsAreNamed) {
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("find program 'containerd-shim-kata-v2'"));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, AServerThatEndsAtOnceIsExplainedByItsLastWords) {
  WriteScript("containerd-shim-kata-v2", "echo 'cannot serve today' >&2; exit 3");
  WriteScript("kata-shim", "exec sleep 600");
  const std::string message =
      ErrorOf({"create", "--bundle", Path("bundle"), "--pid-file", Path("pid"), "c1"});
  EXPECT_EQ(message,
            "create container 'c1': the sandbox server ended with exit status 3: cannot serve today");
  EXPECT_FALSE(PathExists(Path("pid")));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, AMissingShimEndsTheServer) {
  WriteScript("containerd-shim-kata-v2", fmt::format("echo $$ > {}; exec sleep 600", Path("server.pid")));
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("find program 'kata-shim'"));
  EXPECT_THAT(StateLeft(), IsEmpty());
  const Result<std::string> pid = ReadFile(Path("server.pid"));
  if (pid && !pid->empty()) {
    EXPECT_LT(kill(std::stoi(*pid), 0), 0);
  }
}

TEST_F(ProgramTest, AFullDiskLeavesNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs to mount a small file system";
  ASSERT_OK(MakeDirectories(Path("root")));
  if (mount("none", Path("root").c_str(), "tmpfs", 0, "size=4k") < 0) GTEST_SKIP() << "cannot mount a tmpfs";
  ASSERT_OK(WriteFileAtomic(Path("root/filler"), std::string(4096, 'x')));
  const std::string message = ErrorOf(Create("c1"));
  EXPECT_THAT(StateLeft(), testing::ElementsAre("filler"));
  ASSERT_EQ(umount(Path("root").c_str()), 0);
  EXPECT_THAT(message, HasSubstr("No space left on device"));
}

TEST_F(ProgramTest, UnavailableCommandsSaySo) {
  for (const char* command : {"checkpoint", "restore"}) {
    EXPECT_THAT(ErrorOf({command, "c1"}), testing::StartsWith(std::string(command) + ": not available"));
  }
}

TEST_F(ProgramTest, ExitCodesAreRuncs) {
  EXPECT_EQ(Run({"exec", "c1", "true"}).exit_code, 255);
  EXPECT_EQ(Run({"nosuchcommand"}).exit_code, 3);
  EXPECT_EQ(Run({"state", "c1"}).exit_code, 1);
  EXPECT_EQ(Run({"list", "--nosuchflag"}).exit_code, 1);
}

TEST_F(ProgramTest, EveryContainerThatCannotBeDeletedIsTold) {
  const Outcome outcome = Run({"delete", "c1", "c2"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("delete container 'c1': container does not exist"));
  EXPECT_THAT(outcome.err, HasSubstr("delete container 'c2': container does not exist"));
}

TEST_F(ProgramTest, SystemdsControlGroupsNeedSystemd) {
  if (PathExists("/run/systemd/system")) GTEST_SKIP() << "systemd runs here";
  EXPECT_THAT(ErrorOf({"--systemd-cgroup", "create", "--bundle", Path("bundle"), "c1"}),
              HasSubstr("--systemd-cgroup: systemd cannot be reached"));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, WhatAKilledCreateHasMadeIsRemovedByDelete) {
  // When its first state is written, and at the next step behind the control groups.
  for (const int end : {SYS_renameat, SYS_listen}) {
    EXPECT_EQ(Finish(Start(Create("c1"), [end] { DieAt(end); })).exit_code, 128 + SIGSYS);
    EXPECT_THAT(StateLeft(), testing::ElementsAre("c1"));
    EXPECT_EQ(Run({"delete", "c1"}).exit_code, 0);
    EXPECT_THAT(StateLeft(), IsEmpty());
    EXPECT_THAT(CgroupsLeft(), IsEmpty()) << end;
  }
}

TEST_F(ProgramTest, TheScopeThatAKilledCreateHasAskedForIsRemovedByDelete) {
  if (geteuid() != 0) GTEST_SKIP() << "needs to mount";
  const std::string unit = fmt::format("kata-{}.scope", CgroupName());
  ChangeSpec([&](Json& spec) { spec["linux"]["cgroupsPath"] = "system.slice:kata:" + CgroupName(); });
  WriteScript("busctl",
              fmt::format("case $* in *StartTransientUnit*) kill -KILL $PPID;; *) echo $* >> {};; esac",
                          Path("calls")));
  WriteScript("containerd-shim-kata-v2", "exit 0");
  WriteScript("kata-shim", fmt::format("while [ -e {} ]; do sleep 0.05; done", Path("bundle")));
  EXPECT_EQ(
      Finish(Start({"--systemd-cgroup", "create", "--bundle", Path("bundle"), "c1"}, PlaySystemd)).exit_code,
      128 + SIGKILL);
  EXPECT_EQ(Run({"delete", "c1"}).exit_code, 0);
  EXPECT_THAT(StateLeft(), IsEmpty());
  EXPECT_THAT(ReadFile(Path("calls")).value_or(""), HasSubstr(fmt::format("StopUnit ss {} ", unit)));
}

TEST_F(ProgramTest, AContainerThatIsBeingCreatedIsNotTakenForStopped) {
  if (geteuid() != 0) GTEST_SKIP() << "needs to mount";
  ChangeSpec([&](Json& spec) { spec["linux"]["cgroupsPath"] = "system.slice:kata:" + CgroupName(); });
  // Its creation waits for systemd until it is deleted; there is no server yet.
  WriteScript("busctl", fmt::format("case $* in *StopUnit*) exit 0;; esac; touch {}; "
                                    "while [ -e {} ]; do sleep 0.01; done; exit 1",
                                    Path("waits"), Path("root/c1")));
  WriteScript("containerd-shim-kata-v2", "exit 0");
  WriteScript("kata-shim", "exec sleep 30");
  ChildProcess create = Start({"--systemd-cgroup", "create", "--bundle", Path("bundle"), "c1"}, PlaySystemd);
  const Deadline deadline = Deadline::After(kRunTimeout);
  while (!PathExists(Path("waits")) && !deadline.Passed())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));

  EXPECT_EQ(Json::parse(Run({"state", "c1"}).out)["status"], "creating");
  EXPECT_THAT(Run({"list"}).out, HasSubstr(" creating "));
  EXPECT_THAT(Run({"delete", "c1"}).err,
              HasSubstr("cannot delete container c1 that is not stopped: creating"));
  EXPECT_THAT(Run({"start", "c1"}).err, HasSubstr("cannot start an already creating container"));
  EXPECT_THAT(Run({"kill", "c1"}).err, HasSubstr("container not running"));
  EXPECT_THAT(Run({"update", "c1"}).err, HasSubstr("container not running"));
  EXPECT_THAT(Run({"events", "--stats", "c1"}).err, HasSubstr("is not running"));
  EXPECT_THAT(StateLeft(), testing::ElementsAre("c1"));
  EXPECT_EQ(Run({"delete", "--force", "c1"}).exit_code, 0);
  EXPECT_EQ(ErrorOf(Finish(std::move(create))), "create container 'c1': the container was deleted meanwhile");
  EXPECT_THAT(StateLeft(), IsEmpty());
}

TEST_F(ProgramTest, AControlGroupThatCannotBeTakenIsLeftToItsOwner) {
  ASSERT_OK_AND_ASSIGN(const cgroup::Hierarchies hierarchies, cgroup::ReadHierarchies());
  const auto freezer = hierarchies.by_name.find(hierarchies.unified ? "" : "freezer");
  if (freezer == hierarchies.by_name.end()) GTEST_SKIP() << "cannot freeze here";
  const std::string group = freezer->second.mount_point + "/" + CgroupName();
  if (mkdir(group.c_str(), 0755) < 0) GTEST_SKIP() << "cannot make control groups";
  const bool unified = hierarchies.unified;
  ASSERT_OK(WriteKnob(group + (unified ? "/cgroup.freeze" : "/freezer.state"), unified ? "1" : "FROZEN"));
  EXPECT_THAT(ErrorOf(Create("c1")), HasSubstr("frozen"));
  EXPECT_THAT(StateLeft(), IsEmpty());
  EXPECT_THAT(CgroupsLeft(), testing::ElementsAre(group));
}

TEST_F(ProgramTest, AConfigurationThatIsWrongIsNamedByLine) {
  ASSERT_OK(WriteFileAtomic(Path("configuration.toml"), "[hypervisor.qemu]\nshared_fs = \"nfs\"\n"));
  EXPECT_EQ(
      ErrorOf(Create("c1")),
      fmt::format(
          "create container 'c1': {}:2: hypervisor.qemu.shared_fs: 'nfs' is not one of virtio-fs, virtio-9p",
          Path("configuration.toml")));
  EXPECT_THAT(StateLeft(), IsEmpty());
}

}  // namespace
}  // namespace kata::cli
