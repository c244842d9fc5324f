// Names that the host resolves, from end to end: the agent in a network namespace of its own, and programs
// there that ask.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <vector>

#include "agent/agent_fixture_test.h"
#include "agent/guest_program.h"
#include "linux/namespaces.h"
#include "proto/name_service.pb.h"

namespace kata::agent {
namespace {

using test::IsErrorCode;

constexpr std::chrono::seconds kTimeout{60};
constexpr char kQuestion[] = "where is it?";
constexpr char kAnswer[] = "over there";

sockaddr_in Address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(53);
  inet_pton(AF_INET, "127.0.0.11", &address.sin_addr);
  return address;
}

enum class Way { kConnectedDatagram, kDatagram, kStream };

// In a child process, where the agent's containers are: asks, and ends with 0 when the answer is the right
// one, from the right address.
int Ask(Way way) {
  const int fd = socket(AF_INET, way == Way::kStream ? SOCK_STREAM : SOCK_DGRAM, 0);
  const sockaddr_in address = Address();
  const auto* const target = reinterpret_cast<const sockaddr*>(&address);
  char buffer[256];
  ssize_t length = 0;
  sockaddr_in from{};
  socklen_t from_size = sizeof from;
  if (way == Way::kDatagram) {
    if (sendto(fd, kQuestion, strlen(kQuestion), 0, target, sizeof address) < 0) return 10;
    length = recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (from.sin_port != address.sin_port || from.sin_addr.s_addr != address.sin_addr.s_addr) return 11;
  } else {
    if (connect(fd, target, sizeof address) < 0) return 12;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&from), &from_size) < 0) return 13;
    if (way == Way::kStream && from.sin_port != address.sin_port) return 14;
    if (way == Way::kStream) {
      const char header[] = {0, sizeof kQuestion - 1};
      if (send(fd, header, sizeof header, 0) < 0) return 15;
    }
    if (send(fd, kQuestion, strlen(kQuestion), 0) < 0) return 16;
    if (way == Way::kStream && (recv(fd, buffer, 2, MSG_WAITALL) != 2 || buffer[1] != sizeof kAnswer - 1))
      return 17;
    length = recv(fd, buffer, sizeof buffer, 0);
  }
  return std::string_view(buffer, static_cast<size_t>(length)) == kAnswer ? 0 : 18;
}

class NameServiceTest : public AgentTest {
 protected:
  template <typename Response = Empty, typename Request>
  Result<Response> CallNames(const std::string& method, const Request& request) {
    return client_->CallSync<Response>(std::string(protocol::kNameService), method, request, kTimeout);
  }
  void SetUp() override {
    AgentTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_OK(RunGuestProgram(
        {"/usr/bin/nsenter",
         {fmt::format("--net=/proc/{}/ns/net", server_.pid()), "ip", "link", "set", "lo", "up"},
         {},
         {}},
        Deadline::After(kTimeout)));
  }
  Status Listen(const std::string& address, uint32_t port) {
    v1::ListenRequest request;
    request.set_address(address);
    request.set_port(port);
    Result<Empty> response = CallNames("Listen", request);
    return response ? Status() : Status(std::move(response).error());
  }
  Status Answer(uint64_t id) {
    v1::AnswerRequest request;
    request.set_id(id);
    request.set_message(kAnswer);
    Result<Empty> response = CallNames("Answer", request);
    return response ? Status() : Status(std::move(response).error());
  }
  // A process beside the agent, in its network namespace and its cgroup.
  std::future<int> RunBeside(std::function<int()> function) {
    const std::string cgroup =
        fmt::format("/proc/{0}/root/run/cgroup/kata-agent-test-{0}/cgroup.procs", server_.pid());
    const std::string network = fmt::format("/proc/{}/ns/net", server_.pid());
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(kTimeout.count());
      const auto enter = [&]() -> Status {
        TRY(WriteKnob(cgroup, "0"));
        return TRY(linux::NamespaceFd::FromPath(network, CLONE_NEWNET)).Enter();
      };
      _exit(enter() ? function() : 99);
    }
    return std::async(std::launch::async, [pid] {
      int status = 0;
      waitpid(pid, &status, 0);
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    });
  }
};

TEST_F(NameServiceTest, PassesQuestionsAndAnswersOn) {
  ASSERT_OK(Listen("127.0.0.11", 53));
  ASSERT_OK(Listen("127.0.0.11", 53));
  for (const Way way : {Way::kConnectedDatagram, Way::kDatagram, Way::kStream}) {
    std::future<int> asked = RunBeside([way] { return Ask(way); });
    ASSERT_OK_AND_ASSIGN(const v1::Query query, CallNames<v1::Query>("NextQuery", v1::NextQueryRequest()));
    EXPECT_EQ(query.message(), kQuestion);
    EXPECT_EQ(query.stream(), way == Way::kStream);
    ASSERT_OK(Answer(query.id()));
    EXPECT_EQ(asked.get(), 0) << static_cast<int>(way);
    ASSERT_OK(Answer(query.id()));  // to nobody
  }
}

TEST_F(NameServiceTest, LeavesThePortToOthers) {
  ASSERT_OK(Listen("127.0.0.11", 53));
  const auto bind_all = [] {
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
      sockaddr_in address = Address();
      address.sin_addr.s_addr = INADDR_ANY;
      if (bind(socket(AF_INET, type, 0), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        return 1;
    }
    return 0;
  };
  EXPECT_EQ(RunBeside(bind_all).get(), 0);
  // Nor does it take what is sent in a network namespace that a container has made.
  EXPECT_EQ(RunBeside([] {
              if (unshare(CLONE_NEWNET) < 0) return 1;
              const sockaddr_in address = Address();
              const int fd = socket(AF_INET, SOCK_STREAM, 0);
              connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
              sockaddr_in local{};
              socklen_t size = sizeof local;
              return getpeername(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0 ? 2 : 0;
            }).get(),
            0);
}

TEST_F(NameServiceTest, HoldsNoMoreThanSomeQuestions) {
  ASSERT_OK(Listen("127.0.0.11", 53));
  EXPECT_EQ(RunBeside([] {
              const sockaddr_in address = Address();
              const int fd = socket(AF_INET, SOCK_DGRAM, 0);
              for (int i = 0; i < 2000; ++i) {
                const std::string question = fmt::format("{}", i);
                sendto(fd, question.data(), question.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                       sizeof address);
                if (i % 50 == 49) usleep(20000);  // for its socket not to overflow
              }
              return 0;
            }).get(),
            0);
  // The last ones are there, and others have gone.
  std::vector<int> seen;
  while (seen.empty() || seen.back() != 1999) {
    ASSERT_OK_AND_ASSIGN(const v1::Query query, CallNames<v1::Query>("NextQuery", v1::NextQueryRequest()));
    seen.push_back(std::stoi(query.message()));
  }
  EXPECT_LE(seen.size(), 128u);
}

TEST_F(NameServiceTest, TakesAddressesOfTheLoopbackInterfaceOnly) {
  EXPECT_THAT(Listen("192.0.2.1", 53), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Listen("nonsense", 53), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(Listen("127.0.0.11", 0), IsErrorCode(Code::kInvalidArgument));
  ASSERT_OK(Listen("127.0.0.11", 53));
  EXPECT_THAT(Listen("127.0.0.12", 53), IsErrorCode(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace kata::agent
