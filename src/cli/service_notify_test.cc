// The service manager's side of sd_notify(3), played by a socket of the test, and a sandbox server that
// answers as the test says.
#include "cli/service_notify.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <optional>

#include "base/file.h"
#include "linux/unix_socket.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/server.h"

namespace kata::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::IsErrorCode;

constexpr seconds kTimeout{60};

class ServiceNotifyTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir directory, TempDir::Create());
    directory_.emplace(std::move(directory));
    ASSERT_OK_AND_ASSIGN(manager_, linux::BindUnix(path(), SOCK_DGRAM, 0600));
  }
  std::string path() const { return directory_->path() + "/notify"; }
  Result<linux::UnixMessage> Receive() {
    return linux::ReceiveUnixMessage(manager_.get(), 1000, 1, Deadline::After(kTimeout));
  }
  std::string ReceiveText() {
    const Result<linux::UnixMessage> message = Receive();
    return message ? message->data : message.error().message();
  }

  std::optional<TempDir> directory_;
  UniqueFd manager_;
};

TEST_F(ServiceNotifyTest, ReadyMainPidAndBarrier) {
  ASSERT_OK_AND_ASSIGN(const ServiceManager manager, ServiceManager::Connect(path()));
  std::future<Status> told = std::async([&] { return manager.TellReady("READY=1", 4711); });
  EXPECT_EQ(ReceiveText(), "READY=1\n");
  EXPECT_EQ(ReceiveText(), "MAINPID=4711\n");
  ASSERT_OK_AND_ASSIGN(linux::UnixMessage barrier, Receive());
  EXPECT_EQ(barrier.data, "BARRIER=1");
  ASSERT_EQ(barrier.fds.size(), 1u);
  EXPECT_EQ(told.wait_for(milliseconds(50)), std::future_status::timeout);
  barrier.fds.clear();
  EXPECT_OK(told.get());
}

TEST_F(ServiceNotifyTest, AManagerWithoutBarriersIsNotWaitedForForEver) {
  ASSERT_OK_AND_ASSIGN(const ServiceManager manager, ServiceManager::Connect(path()));
  EXPECT_OK(manager.TellReady("READY=1", 1, -1, milliseconds(20)));
  const UniqueFd stop(eventfd(1, EFD_CLOEXEC));
  EXPECT_THAT(manager.TellReady("READY=1", 1, stop.get()), IsErrorCode(Code::kCancelled));
}

TEST_F(ServiceNotifyTest, Addresses) {
  EXPECT_THAT(ServiceManager::Connect(directory_->path() + "/nosuch"),
              IsErrorCode(Code::kFailedPrecondition));
  EXPECT_THAT(ServiceManager::Connect("@" + directory_->path()), IsErrorCode(Code::kFailedPrecondition));
  EXPECT_THAT(ServiceManager::Connect("@" + std::string(108, 'x')), IsErrorCode(Code::kFailedPrecondition));
  const std::string name = directory_->path() + "/abstract";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  manager_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(manager_.get(), reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ASSERT_OK_AND_ASSIGN(const ServiceManager manager, ServiceManager::Connect("@" + name));
  ASSERT_OK(manager.TellReady("READY=1", 1, -1, milliseconds(0)));
  EXPECT_EQ(ReceiveText(), "READY=1\n");
  setenv("NOTIFY_SOCKET", "@x", 1);
  EXPECT_EQ(NotifyAddress(), "@x");
  unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(NotifyAddress(), "");
}

// Answers WaitReady with what the test has set; the first time it is only the time that is over.
class WaitReadyTest : public ServiceNotifyTest {
 protected:
  void SetUp() override {
    ServiceNotifyTest::SetUp();
    ASSERT_OK_AND_ASSIGN(SocketPairEnds ends, MakeSocketPair(SOCK_STREAM));
    connection_ = std::move(ends.first);
    server_.Handle<monitor::WaitReadyRequest, monitor::WaitReadyResponse>(
        std::string(protocol::kMonitorService), "WaitReady",
        [this](const ttrpc::CallContext&, const monitor::WaitReadyRequest& request,
               ttrpc::Responder<monitor::WaitReadyResponse> responder) {
          EXPECT_EQ(request.id(), "c1");
          if (silent_) {
            asked_ = true;
            kept_.emplace(std::move(responder));
            return;
          }
          responder.Respond(asked_.exchange(true) ? answer_ : monitor::WaitReadyResponse());
        });
    server_.Serve(std::move(ends.second));
  }
  void Answer(const std::string& line, bool over) {
    answer_.set_line(line);
    answer_.set_over(over);
  }

  EventLoopThread thread_;
  std::atomic<bool> asked_ = false;
  std::atomic<bool> silent_ = false;
  monitor::WaitReadyResponse answer_;
  std::optional<ttrpc::Responder<monitor::WaitReadyResponse>> kept_;
  ttrpc::Server server_{thread_.loop()};
  UniqueFd connection_;
};

TEST_F(WaitReadyTest, TheLineGoesToTheManager) {
  Answer("READY=1", true);
  ASSERT_OK_AND_ASSIGN(const ServiceManager manager, ServiceManager::Connect(path()));
  TaskClient server(std::move(connection_));
  std::future<Status> passed = std::async([&] { return PassReadyOn(server, "c1", manager, 4711); });
  EXPECT_EQ(ReceiveText(), "READY=1\n");
  EXPECT_EQ(ReceiveText(), "MAINPID=4711\n");
  EXPECT_EQ(ReceiveText(), "BARRIER=1");
  EXPECT_OK(passed.get());
}

TEST_F(WaitReadyTest, NothingElseDoes) {
  Answer("READY=1\nMAINPID=1", true);
  ASSERT_OK_AND_ASSIGN(const ServiceManager manager, ServiceManager::Connect(path()));
  TaskClient server(std::move(connection_));
  EXPECT_OK(PassReadyOn(server, "c1", manager, 1));
  Answer("", true);
  EXPECT_OK(PassReadyOn(server, "c1", manager, 1));
  EXPECT_THAT(linux::ReceiveUnixMessage(manager_.get(), 100, 1, Deadline::After(milliseconds(20))),
              IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(WaitReadyTest, TheForwarderEndsAtAnyTime) {
  silent_ = true;
  {
    ASSERT_OK_AND_ASSIGN(const auto forwarder,
                         ReadyForwarder::Start(std::move(connection_), "c1", path(), 4711));
    while (!asked_) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_THAT(linux::ReceiveUnixMessage(manager_.get(), 100, 1, Deadline::After(milliseconds(20))),
              IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(WaitReadyTest, TheForwarderTellsOfReadiness) {
  Answer("READY=1", true);
  ASSERT_OK_AND_ASSIGN(const auto forwarder,
                       ReadyForwarder::Start(std::move(connection_), "c1", path(), 4711));
  EXPECT_EQ(ReceiveText(), "READY=1\n");
  EXPECT_EQ(ReceiveText(), "MAINPID=4711\n");
}

}  // namespace
}  // namespace kata::cli
