#include "agent/agent_fixture_test.h"

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <vector>

#include "agent/agent.h"
#include "linux/cgroup2.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "linux/unix_socket.h"
#include "protocol/oci_convert.h"

namespace kata::agent {
namespace {

using std::chrono::seconds;

// A cgroup for the agent and its containers, below a cgroup2 mount that only these namespaces see.
struct PrivateCgroup {
  std::string root = "/run/cgroup";
  linux::CgroupDir cgroup;

  Status Create() {
    TRY(MakeDirectories(root));
    TRY(linux::Mount("cgroup2", root, "cgroup2", 0));
    cgroup = TRY(linux::CgroupDir::Create(root, fmt::format("/kata-agent-test-{}", getpid())));
    return cgroup.AddProcess(getpid());
  }
  void Remove() {
    if (!cgroup.valid()) return;
    (void)WriteKnob(root + "/cgroup.procs", fmt::format("{}", getpid()));
    (void)cgroup.Remove(Deadline::After(seconds(10)));
  }
};

// In the first process of the new pid namespace.
int RunAgentHere(bool with_cgroup) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  mount("proc", "/proc", "proc", 0, nullptr);
  if (with_cgroup && unshare(CLONE_NEWCGROUP) == 0) {
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, nullptr);
  } else {
    mount("none", "/sys/fs/cgroup", "tmpfs", 0, nullptr);
  }
  char name[] = "kata-agent";
  char* argv[] = {name, nullptr};
  return AgentMain(1, argv);
}

volatile sig_atomic_t agent_pid = 0;
void PassOn(int signal) {
  kill(agent_pid, signal);
}

}  // namespace

int ServeInNamespaces() {
  if (!linux::Unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET)) return 99;
  mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (mount("run", "/run", "tmpfs", 0, nullptr) != 0) return 99;
  PrivateCgroup cgroup;
  const bool with_cgroup = cgroup.Create().has_value();
  const pid_t pid = fork();
  if (pid < 0) return 99;
  if (pid == 0) _exit(RunAgentHere(with_cgroup));
  agent_pid = pid;
  signal(SIGTERM, PassOn);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  cgroup.Remove();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void AgentTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!PathExists("/bin/busybox")) GTEST_SKIP() << "needs busybox-static";
  ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create("kata-agent-"));
  directory_ = std::make_unique<TempDir>(std::move(directory));
  rootfs_ = directory_->path() + "/rootfs";
  for (const char* name : {"/bin", "/proc", "/sys", "/dev", "/tmp", "/etc"}) {
    ASSERT_OK(MakeDirectories(rootfs_ + name));
  }
  ASSERT_OK_AND_ASSIGN(const std::string busybox, ReadFile("/bin/busybox"));
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/busybox", busybox, 0755));
  for (const char* applet :
       {"sh", "cat", "sleep", "stty", "hostname", "ps", "head", "wc", "readlink", "seq", "tty"}) {
    ASSERT_EQ(symlink("busybox", (rootfs_ + "/bin/" + applet).c_str()), 0);
  }
  ASSERT_OK(WriteFileAtomic(rootfs_ + "/bin/notexec", "text", 0644));

  const std::string socket = directory_->path() + "/agent.sock";
  Command command;
  command.program = "/proc/self/exe";
  command.args = {"serve"};
  command.environment = {"KATA_AGENT_SERVER_ADDR=unix://" + socket, "KATA_AGENT_LOG_LEVEL=debug", "PATH=/bin",
                         // LeakSanitizer cannot look at a program that is PID 1 of its namespace.
                         "ASAN_OPTIONS=detect_leaks=0",
                         // It forks into its namespaces and makes its threads there.
                         "TSAN_OPTIONS=die_after_fork=0"};
  ASSERT_OK_AND_ASSIGN(const UniqueFd log,
                       Open(directory_->path() + "/log", O_WRONLY | O_CREAT | O_APPEND, 0600));
  command.stdout_fd = command.stderr_fd = log.get();
  ASSERT_OK_AND_ASSIGN(server_, Spawn(command));
  const Deadline deadline = Deadline::After(seconds(60));
  Result<UniqueFd> stream = Error(Code::kUnavailable, "not connected");
  while (!stream && !deadline.Passed()) {
    stream = linux::ConnectUnix(socket, SOCK_STREAM, deadline);
    if (!stream) usleep(20000);
  }
  ASSERT_OK(stream);
  loop_ = std::make_unique<EventLoopThread>();
  client_ = std::make_unique<ttrpc::Client>(loop_->loop(), std::move(*stream));
  grpc::CreateSandboxRequest sandbox;
  sandbox.set_hostname("pod");
  sandbox.set_sandbox_id("s1");
  ASSERT_OK(Call("CreateSandbox", sandbox));
}

void AgentTest::TearDown() {
  if (server_.valid()) {
    EXPECT_OK(server_.Signal(SIGTERM));
    const Result<ExitStatus> status = server_.Wait(Deadline::After(seconds(60)));
    EXPECT_OK(status);
    if (status) {
      EXPECT_EQ(status->ShellCode(), 0) << "the agent did not end well";
    }
  }
  client_.reset();
  loop_.reset();
  if (HasFailure() && directory_) {
    if (const Result<std::string> log = ReadFile(directory_->path() + "/log")) {
      std::fprintf(stderr, "--- agent log\n%s---\n", log->c_str());
    }
  }
}

grpc::CreateContainerRequest AgentTest::ShellRequest(const std::string& id,
                                                     const std::string& command) const {
  oci::Spec spec;
  spec.oci_version = "1.1.0";
  spec.root = oci::Root{rootfs_, false};
  oci::Process process;
  process.args = {"/bin/sh", "-c", command};
  process.env = {"PATH=/bin", "TERM=linux"};
  process.cwd = "/";
  const std::vector<std::string> names{"CAP_KILL", "CAP_CHOWN"};
  process.capabilities = oci::Capabilities{names, names, {}, names, {}};
  spec.process = process;
  spec.mounts = {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "mode=755", "size=65536k"}, {}, {}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
       {},
       {}},
  };
  oci::Linux section;
  section.namespaces = {{"mount", ""}, {"ipc", ""}, {"uts", ""}};
  spec.linux = section;
  grpc::CreateContainerRequest request;
  request.set_container_id(id);
  request.set_exec_id(id);
  *request.mutable_oci() = protocol::ToProto(spec);
  return request;
}

Status AgentTest::Create(const grpc::CreateContainerRequest& request) {
  TRY(Call("CreateContainer", request));
  return {};
}

Status AgentTest::Run(const std::string& id, const std::string& command) {
  TRY(Create(ShellRequest(id, command)));
  TRY(Call("StartContainer", For<grpc::StartContainerRequest>(id)));
  return {};
}

Status AgentTest::Exec(const std::string& id, const std::string& exec_id, const std::string& command,
                       bool terminal) {
  auto request = For<grpc::ExecProcessRequest>(id, exec_id);
  grpc::Process& process = *request.mutable_process();
  process.set_terminal(terminal);
  for (const std::string& word : {std::string("/bin/sh"), std::string("-c"), command}) process.add_args(word);
  process.add_env("PATH=/bin");
  process.set_cwd("/");
  TRY(Call("ExecProcess", request));
  return {};
}

Status AgentTest::Signal(const std::string& id, const std::string& exec_id, int signal) {
  auto request = For<grpc::SignalProcessRequest>(id, exec_id);
  request.set_signal(static_cast<uint32_t>(signal));
  TRY(Call("SignalProcess", request));
  return {};
}

Result<int> AgentTest::Wait(const std::string& id, const std::string& exec_id) {
  const auto response =
      TRY(Call<grpc::WaitProcessResponse>("WaitProcess", For<grpc::WaitProcessRequest>(id, exec_id)));
  return response.status();
}

Result<std::string> AgentTest::Read(const std::string& method, const std::string& id,
                                    const std::string& exec_id, uint32_t len) {
  auto request = For<grpc::ReadStreamRequest>(id, exec_id);
  request.set_len(len);
  return TRY(Call<grpc::ReadStreamResponse>(method, request)).data();
}

Result<std::string> AgentTest::ReadAll(const std::string& method, const std::string& id,
                                       const std::string& exec_id) {
  std::string text;
  while (true) {
    const std::string part = TRY(Read(method, id, exec_id));
    if (part.empty()) return text;
    text += part;
  }
}

Result<std::string> AgentTest::ReadUntil(const std::string& id, const std::string& exec_id,
                                         const std::string& text) {
  std::string all;
  while (!all.contains(text)) {
    const std::string part = TRY(Read("ReadStdout", id, exec_id));
    if (part.empty()) return MakeError(Code::kUnavailable, "end of file before '{}' in '{}'", text, all);
    all += part;
  }
  return all;
}

Result<uint32_t> AgentTest::Write(const std::string& id, const std::string& exec_id,
                                  const std::string& data) {
  auto request = For<grpc::WriteStreamRequest>(id, exec_id);
  request.set_data(data);
  return TRY(Call<grpc::WriteStreamResponse>("WriteStdin", request)).len();
}

Status AgentTest::CloseStdin(const std::string& id, const std::string& exec_id) {
  TRY(Call("CloseStdin", For<grpc::CloseStdinRequest>(id, exec_id)));
  return {};
}

Status AgentTest::Remove(const std::string& id) {
  TRY(Call("RemoveContainer", For<grpc::RemoveContainerRequest>(id)));
  return {};
}

}  // namespace kata::agent
