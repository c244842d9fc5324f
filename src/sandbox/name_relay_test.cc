// NameRelay in a network namespace of the test's own, with a fake agent that asks and a name server there.
#include "sandbox/name_relay.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "linux/namespaces.h"
#include "network/name_server.h"
#include "proto/name_service.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/server.h"

namespace kata::sandbox {
namespace {

constexpr std::chrono::seconds kTimeout{60};

// The agent's part: hands out the questions of the test, and keeps the answers.
class FakeNameService {
 public:
  explicit FakeNameService(UniqueFd stream) : server_(thread_.loop()) {
    const std::string service(protocol::kNameService);
    server_.Handle<agent::v1::ListenRequest, Empty>(
        service, "Listen",
        [](const ttrpc::CallContext&, const agent::v1::ListenRequest& request,
           ttrpc::Responder<Empty> responder) {
          if (request.address() == "127.0.0.11" && request.port() == 53) {
            responder.Respond(Empty());
          } else {
            responder.Respond(Error(Code::kInvalidArgument, "another address"));
          }
        });
    server_.Handle<agent::v1::NextQueryRequest, agent::v1::Query>(
        service, "NextQuery",
        [this](const ttrpc::CallContext&, const agent::v1::NextQueryRequest&,
               ttrpc::Responder<agent::v1::Query> responder) {
          waiting_.emplace(std::move(responder));
          Deliver();
        });
    server_.Handle<agent::v1::AnswerRequest, Empty>(
        service, "Answer",
        [this](const ttrpc::CallContext&, const agent::v1::AnswerRequest& request,
               ttrpc::Responder<Empty> responder) {
          if (takes_answers_) {
            responder.Respond(Empty());
          } else {
            kept_.push_back(std::move(responder));
          }
          const std::lock_guard lock(mutex_);
          answers_[request.id()] = request.message();
          changed_.notify_all();
        });
    server_.Serve(std::move(stream));
  }

  void Ask(uint64_t id, bool stream, std::string message) {
    agent::v1::Query query;
    query.set_id(id);
    query.set_stream(stream);
    query.set_message(std::move(message));
    thread_.loop().RunAndWait([&] {
      queries_.push_back(query);
      Deliver();
    });
  }
  std::string AwaitAnswer(uint64_t id) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kTimeout, [&] { return answers_.contains(id); }));
    return answers_[id];
  }
  void TakeNoAnswers() { takes_answers_ = false; }
  // Questions that the host has not taken.
  size_t Untaken() {
    size_t count = 0;
    thread_.loop().RunAndWait([&] { count = queries_.size(); });
    return count;
  }

 private:
  void Deliver() {
    if (!waiting_ || queries_.empty()) return;
    ttrpc::Responder<agent::v1::Query> responder = std::move(*waiting_);
    waiting_.reset();
    responder.Respond(queries_.front());
    queries_.pop_front();
  }

  EventLoopThread thread_;
  std::optional<ttrpc::Responder<agent::v1::Query>> waiting_;
  std::deque<agent::v1::Query> queries_;
  std::atomic<bool> takes_answers_ = true;
  std::deque<ttrpc::Responder<Empty>> kept_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::string> answers_;
  ttrpc::Server server_;
};

std::string Question(const std::string& name) {
  return std::string("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12) + name;
}

class NameRelayTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    std::promise<void> entered;
    thread_.loop().Post([&] {
      EXPECT_OK(linux::Unshare(CLONE_NEWNET));
      Command command;
      command.program = "ip";
      command.args = {"link", "set", "lo", "up"};
      Result<ChildProcess> child = Spawn(command);
      ASSERT_OK(child);
      EXPECT_OK(child->Wait(Deadline::After(kTimeout)));
      entered.set_value();
    });
    entered.get_future().wait();
    ASSERT_OK_AND_ASSIGN(SocketPairEnds ends, MakeSocketPair(SOCK_STREAM));
    guest_ = std::make_unique<FakeNameService>(std::move(ends.first));
    agent_ = std::make_shared<AgentClient>(loop_.loop(), std::move(ends.second));
  }
  void TearDown() override {
    OnThread([this] { relay_.reset(); });
    if (agent_) agent_->Close();
  }

  void OnThread(const std::function<void()>& function) { thread_.loop().RunAndWait(function); }
  void Start() {
    OnThread([this] {
      ASSERT_OK_AND_ASSIGN(
          relay_,
          NameRelay::Start(
              thread_.loop(),
              [this](std::move_only_function<void()> job) { thread_.loop().Post(std::move(job)); }, agent_));
    });
  }
  UniqueFd Bind(int type, uint16_t port) {
    UniqueFd fd;
    OnThread([&] {
      fd.Reset(socket(AF_INET, type | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      inet_pton(AF_INET, network::kNameServerAddress, &address.sin_addr);
      ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    });
    return fd;
  }

  EventLoopThread thread_;  // in a network namespace
  EventLoopThread loop_;
  std::unique_ptr<FakeNameService> guest_;
  std::shared_ptr<AgentClient> agent_;
  std::shared_ptr<NameRelay> relay_;
};

TEST_F(NameRelayTest, SeesWhetherThereIsANameServer) {
  OnThread([] { EXPECT_EQ(network::HasNameServer().value(), false); });
  const UniqueFd server = Bind(SOCK_DGRAM, 40000);
  OnThread([] { EXPECT_EQ(network::HasNameServer().value(), true); });
  EXPECT_EQ(network::HasNameServer().value(), false) << "this thread is elsewhere";
}

TEST_F(NameRelayTest, AsksOverUdp) {
  const UniqueFd server = Bind(SOCK_DGRAM, 53);
  Start();
  guest_->Ask(7, false, Question("a"));
  guest_->Ask(8, false, Question("b"));
  // Answered in the other order.
  sockaddr_in first{};
  for (int i = 0; i < 2; ++i) {
    char buffer[512];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ASSERT_OK(WaitFd(server.get(), POLLIN, Deadline::After(kTimeout), "a question"));
    const ssize_t length =
        recvfrom(server.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    EXPECT_EQ(std::string(buffer, static_cast<size_t>(length)), Question(i == 0 ? "a" : "b"));
    if (i == 0) {
      first = from;
    } else {
      sendto(server.get(), "for b", 5, 0, reinterpret_cast<const sockaddr*>(&from), size);
    }
  }
  EXPECT_EQ(guest_->AwaitAnswer(8), "for b");
  sendto(server.get(), "for a", 5, 0, reinterpret_cast<const sockaddr*>(&first), sizeof first);
  EXPECT_EQ(guest_->AwaitAnswer(7), "for a");
}

TEST_F(NameRelayTest, AsksOverTcp) {
  const UniqueFd server = Bind(SOCK_STREAM, 53);
  ASSERT_EQ(listen(server.get(), 8), 0);
  Start();
  guest_->Ask(7, true, Question("a"));
  ASSERT_OK(WaitFd(server.get(), POLLIN, Deadline::After(kTimeout), "a connection"));
  const UniqueFd connection(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  char buffer[15];
  ASSERT_EQ(recv(connection.get(), buffer, sizeof buffer, MSG_WAITALL), 15);
  EXPECT_EQ(std::string(buffer, sizeof buffer), std::string("\0\x0d", 2) + Question("a"));
  // In pieces.
  for (const std::string_view piece : {std::string_view("\0", 1),
                                       std::string_view("\x05"
                                                        "for"),
                                       std::string_view(" a")}) {
    ASSERT_EQ(send(connection.get(), piece.data(), piece.size(), 0), static_cast<ssize_t>(piece.size()));
  }
  EXPECT_EQ(guest_->AwaitAnswer(7), "for a");
}

TEST_F(NameRelayTest, SaysAtOnceThatNobodyAnswers) {
  Start();
  for (const bool stream : {false, true}) {
    guest_->Ask(7 + stream, stream, Question("a"));
    const std::string answer = guest_->AwaitAnswer(7 + stream);
    // The question, marked as a response that says "server failure".
    EXPECT_EQ(answer, std::string("\x12\x34\x81\x82\x00\x01\x00\x00\x00\x00\x00\x00", 12) + "a");
  }
}

TEST_F(NameRelayTest, TakesSoManyQuestionsAtATime) {
  const UniqueFd server = Bind(SOCK_DGRAM, 53);  // silent
  Start();
  guest_->Ask(1, false, "short");
  for (uint64_t id = 2; id < 302; ++id) guest_->Ask(id, false, Question("a"));
  const Deadline deadline = Deadline::After(kTimeout);
  while (guest_->Untaken() > 200 && !deadline.Passed())
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(guest_->Untaken(), 200u);
}

TEST_F(NameRelayTest, TakesNoMoreQuestionsThanItsAnswersAreTaken) {
  Start();  // nobody serves: each question has its answer at once
  guest_->TakeNoAnswers();
  for (uint64_t id = 1; id <= 300; ++id) guest_->Ask(id, false, Question("a"));
  const Deadline deadline = Deadline::After(kTimeout);
  while (guest_->Untaken() > 200 && !deadline.Passed())
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(guest_->Untaken(), 200u);
}

}  // namespace
}  // namespace kata::sandbox
