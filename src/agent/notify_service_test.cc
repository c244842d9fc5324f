// Containers that tell when they are ready, from end to end: the agent, and programs that send to its
// sockets.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <future>
#include <string_view>
#include <vector>

#include "agent/agent_fixture_test.h"
#include "linux/unix_socket.h"
#include "proto/notify_service.pb.h"

namespace kata::agent {
namespace {

using test::IsErrorCode;

constexpr std::chrono::seconds kTimeout{60};

class NotifyServiceTest : public AgentTest {
 protected:
  // The directory of the socket.
  Result<std::string> Listen(const std::string& id) {
    TRY(CallNotify<Empty>("Listen", id));
    return fmt::format("{}/{}", protocol::kGuestNotifyDirectory, id);
  }
  Result<std::string> AwaitReady(const std::string& id) {
    return TRY(CallNotify<v1::Readiness>("AwaitReady", id)).line();
  }
  template <typename Response>
  Result<Response> CallNotify(const std::string& method, const std::string& id) {
    v1::NotifyRequest request;
    request.set_container_id(id);
    return client_->CallSync<Response>(std::string(protocol::kNotifyService), method, request, kTimeout);
  }
  std::string Outside(const std::string& path) const {
    return fmt::format("/proc/{}/root{}", AgentPid(), path);
  }
  // The first process in the agent's namespaces, a child of the one that the test has started.
  pid_t AgentPid() const {
    const Result<std::string> children = ReadFile(fmt::format("/proc/{0}/task/{0}/children", server_.pid()));
    return children ? static_cast<pid_t>(std::atoi(children->c_str())) : -1;
  }
  Result<UniqueFd> Connect(const std::string& directory) const {
    return linux::ConnectUnix(Outside(directory + "/notify.sock"), SOCK_DGRAM, Deadline::After(kTimeout));
  }
  static Status Send(const UniqueFd& socket, std::string_view message, const std::vector<int>& fds = {}) {
    return linux::SendUnixMessage(socket.get(), message, fds, Deadline::After(kTimeout));
  }
  // Until the agent has closed its end.
  static void AwaitRefusal(const UniqueFd& socket) {
    const Deadline deadline = Deadline::After(kTimeout);
    while (Send(socket, "STATUS=again") && !deadline.Passed()) usleep(1000);
    EXPECT_FALSE(Send(socket, "STATUS=again"));
  }
};

TEST_F(NotifyServiceTest, TheFirstReadyLineIsTheAnswer) {
  ASSERT_OK_AND_ASSIGN(const std::string directory, Listen("c1"));
  struct stat info{};
  ASSERT_EQ(stat(Outside(directory + "/notify.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFSOCK | 0777u);
  std::future<Result<std::string>> ready = std::async([this] { return AwaitReady("c1"); });
  ASSERT_OK_AND_ASSIGN(const UniqueFd socket, Connect(directory));
  ASSERT_OK(Send(socket, "STATUS=starting"));
  ASSERT_OK(Send(socket, "READY=\x1b[2J"));
  ASSERT_EQ(send(socket.get(), "", 0, 0), 0);
  ASSERT_OK(Send(socket, std::string(5000, 'x') + "\nREADY=0"));
  EXPECT_EQ(ready.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  ASSERT_OK(Send(socket, "STATUS=up\nREADY=1\nMAINPID=1"));
  ASSERT_OK_AND_ASSIGN(const std::string line, ready.get());
  EXPECT_EQ(line, "READY=1");
  AwaitRefusal(socket);
  ASSERT_OK_AND_ASSIGN(const std::string again, AwaitReady("c1"));
  EXPECT_EQ(again, "READY=1");
}

TEST_F(NotifyServiceTest, AContainerFindsTheSocketWhereTheHostMountsIt) {
  ASSERT_OK_AND_ASSIGN(const std::string directory, Listen("c1"));
  grpc::CreateContainerRequest request =
      ShellRequest("c1",
                   "readlink /proc/self/ns/pid; cat; cat /run/notify/new 2> /dev/null > /run/notify/new || "
                   "[ -S /run/notify/notify.sock ] && exit 7");
  grpc::Mount& mount = *request.mutable_oci()->add_mounts();
  mount.set_destination("/run/notify");
  mount.set_source(directory);
  mount.set_type("bind");
  for (const char* option : {"bind", "nosuid", "noexec", "nodev", "ro"}) mount.add_options(option);
  ASSERT_OK(Create(request));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  ASSERT_OK(CloseStdin("c1", "c1"));
  ASSERT_OK_AND_ASSIGN(const int code, Wait("c1", "c1"));
  EXPECT_EQ(code, 7);
  EXPECT_TRUE(PathExists(Outside(directory)));
  ASSERT_OK(Remove("c1"));
  EXPECT_FALSE(PathExists(Outside(directory)));
  EXPECT_THAT(AwaitReady("c1"), IsErrorCode(Code::kNotFound));
}

// A bind mount's root shows the whole file system to mount(2).
TEST_F(NotifyServiceTest, AContainerCannotMakeTheAgentsFilesReadOnly) {
  ASSERT_OK_AND_ASSIGN(const std::string directory, Listen("c1"));
  grpc::CreateContainerRequest request = ShellRequest("c1", "mount -o remount,ro /run/notify && exit 7");
  grpc::Mount& mount = *request.mutable_oci()->add_mounts();
  mount.set_destination("/run/notify");
  mount.set_source(directory);
  mount.set_type("bind");
  mount.add_options("bind");
  grpc::LinuxCapabilities& capabilities = *request.mutable_oci()->mutable_process()->mutable_capabilities();
  for (auto* set : {capabilities.mutable_bounding(), capabilities.mutable_effective(),
                    capabilities.mutable_permitted()}) {
    set->Add("CAP_SYS_ADMIN");
  }
  ASSERT_OK(Create(request));
  ASSERT_OK(Call("StartContainer", For<grpc::StartContainerRequest>("c1")));
  ASSERT_OK_AND_ASSIGN(const int code, Wait("c1", "c1"));
  EXPECT_EQ(code, 7);
  ASSERT_OK(Run("c2", "true"));
  ASSERT_OK(Remove("c1"));
  EXPECT_FALSE(PathExists(Outside(directory)));
}

TEST_F(NotifyServiceTest, NothingStaysOfAContainerThatIsNotCreated) {
  // Neither asked for again, nor created in vain.
  ASSERT_OK_AND_ASSIGN(const std::string directory, Listen("c1"));
  EXPECT_THAT(Listen("c1"), IsErrorCode(Code::kAlreadyExists));
  EXPECT_FALSE(Call("RemoveContainer", For<grpc::RemoveContainerRequest>("c1")));
  EXPECT_FALSE(PathExists(Outside(directory)));
  ASSERT_OK(Listen("c1"));
  grpc::CreateContainerRequest request = ShellRequest("c1", "true");
  request.mutable_oci()->mutable_process()->set_args(0, "/nosuch");
  EXPECT_FALSE(Create(request));
  EXPECT_FALSE(PathExists(Outside(directory)));
  // Those that wait have an answer.
  ASSERT_OK_AND_ASSIGN(const std::string other, Listen("c2"));
  std::future<Result<std::string>> ready = std::async([this] { return AwaitReady("c2"); });
  usleep(20000);
  ASSERT_OK(Call("DestroySandbox", grpc::DestroySandboxRequest()));
  EXPECT_FALSE(ready.get());
  EXPECT_FALSE(PathExists(Outside(other)));
  EXPECT_THAT(Listen("c1"), IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(NotifyServiceTest, RefusesWhatIsNoNewContainer) {
  EXPECT_THAT(Listen("../c1"), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(AwaitReady("c1"), IsErrorCode(Code::kNotFound));
  ASSERT_OK(Run("c1", "cat"));
  EXPECT_THAT(Listen("c1"), IsErrorCode(Code::kAlreadyExists));
}

// Neither what it sends without end nor connections that linger hold the agent up.
TEST_F(NotifyServiceTest, AHostileContainerHoldsNobodyUp) {
  ASSERT_OK_AND_ASSIGN(const std::string directory, Listen("c1"));
  ASSERT_OK_AND_ASSIGN(const UniqueFd socket, Connect(directory));
  // The peer takes nothing, so that closing the connection waits for as long as is asked for.
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  for (int i = 0; i < 2; ++i) {
    UniqueFd lingering(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    constexpr linger kLong{.l_onoff = 1, .l_linger = 60};
    ASSERT_EQ(setsockopt(lingering.get(), SOL_SOCKET, SO_LINGER, &kLong, sizeof kLong), 0);
    (void)connect(lingering.get(), reinterpret_cast<sockaddr*>(&address), size);
    const std::string much(64 << 10, 'x');
    while (write(lingering.get(), much.data(), much.size()) > 0) {
    }
    ASSERT_OK(Send(socket, "STATUS=1", {lingering.get()}));
  }
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_OK(client_->CallSync<grpc::HealthCheckResponse>(std::string(protocol::kHealthService), "Check",
                                                         grpc::CheckRequest(), kTimeout));
  EXPECT_FALSE(Call("RemoveContainer", For<grpc::RemoveContainerRequest>("c1")));
  ASSERT_OK(Run("c2", "true"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_FALSE(PathExists(Outside(directory)));
}

}  // namespace
}  // namespace kata::agent
