#include "sandbox/attach.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <ctime>
#include <future>
#include <optional>
#include <thread>

#include "base/file.h"
#include "sandbox/attach_message.h"
#include "sandbox/attach_server.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsError;
using kata::test::IsErrorCode;
using testing::_;
using testing::HasSubstr;

constexpr std::chrono::seconds kTimeout{60};

Deadline Soon() {
  return Deadline::After(kTimeout);
}

AttachRequest MakeRequest() {
  AttachRequest request;
  request.id = "c1";
  request.exec_id = "e1";
  request.shim_pid = 4711;
  request.channel = std::move(MakeSocketPair(SOCK_SEQPACKET)->first);
  request.stdin_fd = std::move(*Open("/dev/null", O_RDONLY));
  request.stdout_fd = std::move(MakePipe()->write);
  return request;
}

bool SameFile(int a, const struct stat& b) {
  struct stat info{};
  return fstat(a, &info) == 0 && info.st_dev == b.st_dev && info.st_ino == b.st_ino;
}

class AttachTest : public kata::test::LeakCheckedTest {
 protected:
  static constexpr size_t kMaxConnections = 2;

  struct Closed {
    uint64_t connection;
    bool committed;
  };

  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
    ASSERT_OK_AND_ASSIGN(UniqueFd listener, linux::ListenUnix(path(), SOCK_SEQPACKET));
    OnLoop([&] {
      watcher_ = std::move(*FdWatcher::Create(thread_.loop()));
      server_ = std::move(*AttachServer::Create(
          thread_.loop(), *watcher_, std::move(listener),
          {.on_attach = [this](AttachRequest request, uint64_t) -> Status {
             if (request.id == "refused") return Error(Code::kAlreadyExists, "not twice");
             received_.set_value(std::move(request));
             return {};
           },
           .on_closed = [this](uint64_t id, bool committed) { closed_.set_value({id, committed}); }},
          kMaxConnections));
    });
  }
  void TearDown() override {
    OnLoop([&] {
      server_.reset();
      watcher_.reset();
    });
  }
  template <typename F>
  void OnLoop(F function) {
    std::promise<void> done;
    thread_.loop().Post([&] {
      function();
      done.set_value();
    });
    done.get_future().wait();
  }
  std::string path() const { return dir_->path() + "/attach.sock"; }
  Result<UniqueFd> Connect() { return linux::ConnectUnix(path(), SOCK_SEQPACKET, Soon()); }
  Closed AwaitClosed() {
    auto future = closed_.get_future();
    EXPECT_EQ(future.wait_for(kTimeout), std::future_status::ready);
    return future.get();
  }

  std::optional<TempDir> dir_;
  EventLoopThread thread_;
  std::unique_ptr<FdWatcher> watcher_;
  std::unique_ptr<AttachServer> server_;
  std::promise<AttachRequest> received_;
  std::promise<Closed> closed_;
};

TEST_F(AttachTest, DescriptorsArriveAndCommitIsTold) {
  AttachRequest request = MakeRequest();
  request.terminal = true;
  struct stat channel{}, stdout_info{};
  ASSERT_EQ(fstat(request.channel.get(), &channel), 0);
  ASSERT_EQ(fstat(request.stdout_fd.get(), &stdout_info), 0);
  ASSERT_OK_AND_ASSIGN(Attachment attachment, Attachment::Attach(*Connect(), std::move(request), Soon()));
  const AttachRequest received = received_.get_future().get();
  EXPECT_EQ(received.id, "c1");
  EXPECT_EQ(received.exec_id, "e1");
  EXPECT_EQ(received.shim_pid, 4711);
  EXPECT_TRUE(received.terminal);
  EXPECT_TRUE(SameFile(received.channel.get(), channel));
  EXPECT_TRUE(SameFile(received.stdout_fd.get(), stdout_info));
  EXPECT_TRUE(received.stdin_fd.valid());
  EXPECT_FALSE(received.stderr_fd.valid());
  ASSERT_OK(attachment.Commit());
  EXPECT_TRUE(AwaitClosed().committed);
}

TEST_F(AttachTest, EndWithoutCommitIsTold) {
  {
    ASSERT_OK_AND_ASSIGN(const Attachment attachment, Attachment::Attach(*Connect(), MakeRequest(), Soon()));
  }
  EXPECT_FALSE(AwaitClosed().committed);
}

TEST_F(AttachTest, RefusalReachesTheClient) {
  AttachRequest request = MakeRequest();
  request.id = "refused";
  EXPECT_THAT(Attachment::Attach(*Connect(), std::move(request), Soon()),
              IsError(Code::kAlreadyExists, "attach to process 'e1' of container 'refused': not twice"));
}

TEST_F(AttachTest, ClientsAboveTheLimitWait) {
  std::vector<UniqueFd> idle;
  for (size_t i = 0; i < kMaxConnections; ++i) idle.push_back(*Connect());
  std::future<Status> waiting = std::async(std::launch::async, [this]() -> Status {
    TRY(Attachment::Attach(TRY(Connect()), MakeRequest(), Soon()));
    return {};
  });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  idle.pop_back();
  EXPECT_OK(waiting.get());
  AwaitClosed();
}

std::chrono::nanoseconds ProcessorTime() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

TEST_F(AttachTest, AServerWithoutDescriptorsWaitsForSome) {
  AttachRequest request = MakeRequest();
  UniqueFd client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path().copy(address.sun_path, sizeof(address.sun_path)), sizeof(address.sun_path));
  rlimit limits{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limits), 0);
  const int first_free = dup(client.get());
  ::close(first_free);
  const rlimit none{static_cast<rlim_t>(first_free), limits.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const int connected = connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const std::chrono::nanoseconds begin = ProcessorTime();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // in which a busy loop would show
  const std::chrono::nanoseconds used = ProcessorTime() - begin;
  setrlimit(RLIMIT_NOFILE, &limits);
  EXPECT_EQ(connected, 0);
  EXPECT_LT(used, std::chrono::milliseconds(100));
  EXPECT_OK(Attachment::Attach(std::move(client), std::move(request), Soon()));
  AwaitClosed();
}

TEST_F(AttachTest, GarbageIsRefusedAndHarmsNobody) {
  const std::string valid = EncodeAttachRequest(MakeRequest());
  for (const std::string& data :
       {std::string("garbage"), std::string("{}"), std::string("[1]"), valid,
        std::string(R"({"id":"c","execId":"","terminal":1,"shimPid":1,"descriptors":[]})")}) {
    ASSERT_OK_AND_ASSIGN(const UniqueFd socket, Connect());
    ASSERT_OK(linux::SendUnixMessage(socket.get(), data, {}, Soon()));
    ASSERT_OK_AND_ASSIGN(const linux::UnixMessage reply,
                         linux::ReceiveUnixMessage(socket.get(), 4096, 0, Soon()));
    EXPECT_THAT(DecodeAttachReply(reply.data), IsErrorCode(Code::kInvalidArgument)) << data;
  }
  ASSERT_OK_AND_ASSIGN(const UniqueFd silent, Connect());
  EXPECT_OK(Attachment::Attach(*Connect(), MakeRequest(), Soon()));
}

TEST(AttachMessage, DescriptorsMustMatchTheirNames) {
  const auto decode = [](const std::string& names, size_t count) {
    linux::UnixMessage message;
    message.data = R"({"id":"c","execId":"","terminal":false,"shimPid":1,"descriptors":)" + names + "}";
    for (size_t i = 0; i < count; ++i) message.fds.push_back(std::move(*Open("/dev/null", O_RDWR)));
    return DecodeAttachRequest(std::move(message));
  };
  EXPECT_OK(decode(R"(["channel"])", 1));
  EXPECT_THAT(decode(R"([])", 0), IsError(_, HasSubstr("channel")));
  EXPECT_THAT(decode(R"(["channel"])", 2), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(decode(R"(["channel","channel"])", 2), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(decode(R"(["channel","other"])", 2), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(decode(R"(["channel",3])", 2), IsErrorCode(Code::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(const AttachRequest request, decode(R"(["stderr","channel"])", 2));
  EXPECT_TRUE(request.stderr_fd.valid());
  EXPECT_FALSE(request.stdout_fd.valid());
}

TEST(AttachMessage, RepliesThatCannotBeReadAreErrors) {
  EXPECT_OK(DecodeAttachReply(EncodeAttachReply({})));
  EXPECT_THAT(DecodeAttachReply(EncodeAttachReply(Error(Code::kNotFound, "\"x\"\n"))),
              IsError(Code::kNotFound, "\"x\"\n"));
  EXPECT_THAT(DecodeAttachReply(""), IsErrorCode(Code::kUnavailable));
  EXPECT_THAT(DecodeAttachReply("nonsense"), IsErrorCode(Code::kInternal));
}

}  // namespace
}  // namespace kata::sandbox
