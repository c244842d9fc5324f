#include "ttrpc/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <future>
#include <stdexcept>
#include <thread>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/raw_peer_test.h"

namespace kata::ttrpc {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::HasSubstr;

constexpr auto kLong = 60s;

// google.rpc.Code as on the wire.
constexpr int kWireInvalidArgument = 3;
constexpr int kWireNotFound = 5;
constexpr int kWireResourceExhausted = 8;
constexpr int kWireUnimplemented = 12;
constexpr int kWireInternal = 13;

class ServerTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    server_.emplace(loop_.loop());
    server_->HandleRaw("test.Echo", "Echo", [](CallContext, std::string payload, RawResponder responder) {
      responder.Respond(std::move(payload));
    });
    server_->HandleRaw("test.Echo", "Fail",
                       [](CallContext, const std::string& payload, RawResponder responder) {
                         responder.Respond(Error(Code::kNotFound, payload));
                       });
    server_->HandleRaw("test.Echo", "Drop", [](CallContext, const std::string&, RawResponder) {});
    server_->HandleRaw("test.Echo", "Throw", [](CallContext, const std::string&, RawResponder) {
      throw std::runtime_error("oops");
    });
    // Keeps its responders for the test to answer.
    server_->HandleRaw("test.Echo", "Keep",
                       [this](CallContext context, const std::string&, RawResponder responder) {
                         const std::lock_guard lock(mutex_);
                         contexts_.push_back(context);
                         kept_.push_back(std::move(responder));
                         kept_changed_.notify_all();
                       });
  }

  // Connects a peer; its end of connection fulfils closed_.
  void Serve(RawPeer& peer) {
    server_->Serve(peer.TakeOtherEnd(), [this](uint64_t) { closed_.set_value(); });
  }
  bool WaitClosed() { return closed_.get_future().wait_for(kLong) == std::future_status::ready; }

  // Takes the responders once there are `count`.
  std::vector<RawResponder> WaitKept(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(kept_changed_.wait_for(lock, kLong, [&] { return kept_.size() >= count; }));
    return std::move(kept_);
  }

  EventLoopThread loop_;
  std::promise<void> closed_;
  std::mutex mutex_;
  std::condition_variable kept_changed_;
  std::vector<RawResponder> kept_;
  std::vector<CallContext> contexts_;
  std::optional<Server> server_;
};

TEST_F(ServerTest, AnswersInGoldenBytes) {
  RawPeer peer;
  Serve(peer);
  // Request{service: "test.Echo", method: "Echo", payload: "hi"} on stream 1.
  peer.Send("\x00\x00\x00\x15\x00\x00\x00\x01\x01\x00"s + "\x0a\x09" + "test.Echo" + "\x12\x04" + "Echo" +
            "\x1a\x02" + "hi");
  EXPECT_EQ(peer.Receive(14), "\x00\x00\x00\x04\x00\x00\x00\x01\x02\x00"s + "\x12\x02" + "hi");
  // The same with method "Fail": Response{status: {code: 5, message: "hi"}}.
  peer.Send("\x00\x00\x00\x15\x00\x00\x00\x03\x01\x00"s + "\x0a\x09" + "test.Echo" + "\x12\x04" + "Fail" +
            "\x1a\x02" + "hi");
  EXPECT_EQ(peer.Receive(18),
            "\x00\x00\x00\x08\x00\x00\x00\x03\x02\x00"s + "\x0a\x06\x08\x05\x12\x02" + "hi");
}

TEST_F(ServerTest, UnknownServiceAndMethodAreUnimplemented) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(1, "test.None", "Echo");
  RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.code, kWireUnimplemented);
  EXPECT_EQ(answer.message, "unknown service 'test.None'");
  peer.SendRequest(3, "test.Echo", "N\none");
  answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.code, kWireUnimplemented);
  EXPECT_EQ(answer.message, "service 'test.Echo' has no method 'N one'");
}

TEST_F(ServerTest, WhatDoesNotParseIsAnInvalidArgument) {
  server_->Handle<::ttrpc::KeyValue, ::ttrpc::KeyValue>(
      "test.Typed", "Echo",
      [](const CallContext&, ::ttrpc::KeyValue request, Responder<::ttrpc::KeyValue> responder) {
        if (request.key() == "bad") {
          responder.Respond(Error(Code::kInvalidArgument, "bad key"));
        } else {
          responder.Respond(std::move(request));
        }
      });
  RawPeer peer;
  Serve(peer);
  peer.SendFrame(1, FrameType::kRequest, 0, "\xff\xff");
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireInvalidArgument);
  peer.SendRequest(3, "test.Typed", "Echo", "\xff");
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireInvalidArgument);
  ::ttrpc::KeyValue message;
  message.set_key("good");
  peer.SendRequest(5, "test.Typed", "Echo", message.SerializeAsString());
  EXPECT_EQ(peer.ReceiveAnswer().payload, message.SerializeAsString());
  message.set_key("bad");
  peer.SendRequest(7, "test.Typed", "Echo", message.SerializeAsString());
  EXPECT_EQ(peer.ReceiveAnswer().message, "bad key");
}

TEST_F(ServerTest, ErrorMessagesBecomeValidUtf8) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(1, "test.Echo", "Fail", "bad \xff byte");
  const RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.code, kWireNotFound);
  EXPECT_EQ(answer.message, "bad \xef\xbf\xbd byte");
}

TEST_F(ServerTest, AHandlerThatDropsTheCallOrThrowsIsAnInternalError) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(1, "test.Echo", "Drop");
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireInternal);
  peer.SendRequest(3, "test.Echo", "Throw");
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireInternal);
  peer.SendRequest(5, "test.Echo", "Echo", "alive");
  EXPECT_EQ(peer.ReceiveAnswer().payload, "alive");
}

TEST_F(ServerTest, RefusesOversizeRequestsAndGoesOn) {
  RawPeer peer;
  Serve(peer);
  peer.Send("\x00\x40\x00\x01\x00\x00\x00\x01\x01\x00"s);  // 4 MiB and one byte
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireResourceExhausted);
  peer.Send(std::string((4 << 20) + 1, 'x'));
  peer.SendRequest(3, "test.Echo", "Echo", "alive");
  const RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.stream_id, 3u);
  EXPECT_EQ(answer.payload, "alive");
}

TEST_F(ServerTest, AnOversizeResponseIsAnError) {
  server_->HandleRaw("test.Echo", "Huge", [](CallContext, const std::string&, RawResponder responder) {
    responder.Respond(std::string(4 << 20, 'x'));  // with its envelope more than a frame holds
  });
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(1, "test.Echo", "Huge");
  const RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.code, kWireResourceExhausted);
  EXPECT_THAT(answer.message, HasSubstr("send the response: "));
}

TEST_F(ServerTest, RefusesStreamingCallsAndIgnoresTheirData) {
  RawPeer peer;
  Serve(peer);
  ::ttrpc::Request request;
  request.set_service("test.Echo");
  request.set_method("Echo");
  peer.SendFrame(1, FrameType::kRequest, kFlagRemoteOpen, request.SerializeAsString());
  EXPECT_EQ(peer.ReceiveAnswer().code, kWireUnimplemented);
  peer.SendFrame(1, FrameType::kData, 0, "more");
  peer.SendFrame(1, FrameType::kData, kFlagRemoteClosed | kFlagNoData, "");
  peer.SendRequest(3, "test.Echo", "Echo", "alive");
  EXPECT_EQ(peer.ReceiveAnswer().payload, "alive");
}

TEST_F(ServerTest, ClosesOnAnEvenStream) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(2, "test.Echo", "Echo");
  EXPECT_TRUE(peer.AtEnd());
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, ClosesOnAStreamThatDoesNotIncrease) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(3, "test.Echo", "Echo");
  EXPECT_EQ(peer.ReceiveAnswer().stream_id, 3u);
  peer.SendRequest(3, "test.Echo", "Echo");
  EXPECT_TRUE(peer.AtEnd());
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, StreamNumbersBeginAgain) {
  RawPeer peer;
  Serve(peer);
  for (const uint32_t id : {1u, 0x7fffffffu, 0xfffffffdu, 0xffffffffu, 1u, 3u}) {
    peer.SendRequest(id, "test.Echo", "Echo");
    EXPECT_EQ(peer.ReceiveAnswer().stream_id, id);
  }
  peer.SendRequest(1, "test.Echo", "Echo");
  EXPECT_TRUE(peer.AtEnd()) << "less than the last";
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, ClosesOnGarbageAtOnce) {
  RawPeer peer;
  Serve(peer);
  peer.Send("GET / HTTP/1.1\r\n");
  EXPECT_TRUE(peer.AtEnd());
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, ReportsAPeerThatLeavesWithinAFrameAfterClosing) {
  RawPeer peer;
  UniqueFd ours = peer.TakeOtherEnd();
  const std::string link = "/proc/self/fd/" + std::to_string(ours.get());
  char target[64] = {};
  ASSERT_GT(readlink(link.c_str(), target, sizeof target - 1), 0);
  std::promise<std::pair<uint64_t, std::string>> closed;
  server_->Serve(std::move(ours), [&](uint64_t id) {
    char now[64] = {};
    (void)!readlink(link.c_str(), now, sizeof now - 1);
    closed.set_value({id, now});
  });
  peer.Send("\x00\x00\x00\x08\x00"s);
  peer.Close();
  std::future<std::pair<uint64_t, std::string>> result = closed.get_future();
  ASSERT_EQ(result.wait_for(kLong), std::future_status::ready);
  const auto [id, now] = result.get();
  EXPECT_GT(id, 0u);
  EXPECT_NE(now, target);
}

TEST_F(ServerTest, ReportsDescriptorsThatCannotBeServed) {
  for (const bool open : {false, true}) {
    // Nothing at all, and a device that poll(2) does not work on.
    ASSERT_OK_AND_ASSIGN(UniqueFd fd, open ? Open("/dev/null", O_RDWR) : UniqueFd());
    std::promise<void> closed;
    server_->Serve(std::move(fd), [&](uint64_t) { closed.set_value(); });
    EXPECT_EQ(closed.get_future().wait_for(kLong), std::future_status::ready);
  }
}

TEST_F(ServerTest, AnswersOutOfOrderFromOtherThreads) {
  RawPeer peer;
  Serve(peer);
  constexpr int kCalls = 20;
  for (uint32_t i = 0; i < kCalls; ++i) peer.SendRequest(2 * i + 1, "test.Echo", "Keep");
  std::vector<RawResponder> responders = WaitKept(kCalls);
  std::vector<std::thread> threads;
  for (int parity : {1, 0}) {
    threads.emplace_back([&, parity] {
      for (int i = kCalls - 2 + parity; i >= 0; i -= 2) responders[i].Respond(std::to_string(2 * i + 1));
    });
  }
  std::vector<uint32_t> streams;
  for (uint32_t i = 0; i < kCalls; ++i) {
    const RawPeer::Answer answer = peer.ReceiveAnswer();
    EXPECT_EQ(answer.payload, std::to_string(answer.stream_id));
    streams.push_back(answer.stream_id);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(std::is_sorted(streams.begin(), streams.end()));
  std::sort(streams.begin(), streams.end());
  EXPECT_EQ(std::unique(streams.begin(), streams.end()), streams.end());
}

TEST_F(ServerTest, TellsHandlersTheConnectionAndUntilWhen) {
  RawPeer peer;
  Serve(peer);
  ::ttrpc::Request request;
  request.set_service("test.Echo");
  request.set_method("Keep");
  request.set_timeout_nano(std::chrono::nanoseconds(1h).count());
  request.add_metadata()->set_key("traceparent");  // nobody's concern
  peer.SendFrame(1, FrameType::kRequest, 0, request.SerializeAsString());
  peer.SendRequest(3, "test.Echo", "Keep");
  std::vector<RawResponder> responders = WaitKept(2);
  ASSERT_EQ(contexts_.size(), 2u);
  ASSERT_TRUE(contexts_[0].deadline.has_value());
  EXPECT_GT(contexts_[0].deadline->Remaining(), 50min);
  EXPECT_LE(contexts_[0].deadline->Remaining(), 1h);
  EXPECT_FALSE(contexts_[1].deadline.has_value());
  EXPECT_EQ(contexts_[1].connection_id, contexts_[0].connection_id);
}

TEST_F(ServerTest, DiscardsAnswersAfterTheConnectionIsGone) {
  RawPeer peer;
  Serve(peer);
  peer.SendRequest(1, "test.Echo", "Keep");
  std::vector<RawResponder> responders = WaitKept(1);
  peer.Close();
  EXPECT_TRUE(WaitClosed());
  responders[0].Respond("too late");
  RawPeer other;
  server_->Serve(other.TakeOtherEnd());
  other.SendRequest(1, "test.Echo", "Echo", "alive");
  EXPECT_EQ(other.ReceiveAnswer().payload, "alive");
}

TEST_F(ServerTest, RespondersMayOutliveServerAndLoop) {
  std::vector<RawResponder> responders;
  RawPeer peer;
  {
    EventLoopThread loop;
    Server server(loop.loop());
    server.HandleRaw("test.Echo", "Keep", [&](CallContext, const std::string&, RawResponder responder) {
      const std::lock_guard lock(mutex_);
      kept_.push_back(std::move(responder));
      kept_changed_.notify_all();
    });
    server.Serve(peer.TakeOtherEnd());
    peer.SendRequest(1, "test.Echo", "Keep");
    responders = WaitKept(1);
  }
  EXPECT_TRUE(peer.AtEnd());
  responders[0].Respond("too late");
}

TEST_F(ServerTest, DestructionWaitsForARunningHandler) {
  std::promise<void> entered;
  std::atomic<bool> left = false;
  server_->HandleRaw("test.Echo", "Slow", [&](CallContext, const std::string&, RawResponder) {
    entered.set_value();
    std::this_thread::sleep_for(50ms);
    left = true;
  });
  RawPeer peer;
  server_->Serve(peer.TakeOtherEnd(), [](uint64_t) { FAIL() << "the server closed the connection itself"; });
  peer.SendRequest(1, "test.Echo", "Slow");
  entered.get_future().wait();
  server_.reset();
  EXPECT_TRUE(left);
}

TEST_F(ServerTest, AHandlerMayDestroyTheServer) {
  server_->HandleRaw("test.Echo", "Destroy", [this](CallContext, const std::string&, RawResponder responder) {
    responder.Respond("gone");
    server_.reset();
  });
  RawPeer peer;
  server_->Serve(peer.TakeOtherEnd());
  peer.SendRequest(1, "test.Echo", "Destroy");
  EXPECT_EQ(peer.ReceiveAnswer().payload, "gone");
  EXPECT_TRUE(peer.AtEnd());
  // The handler has returned, too, before the fixture looks at server_.
  loop_.loop().RunAndWait([] {});
}

// --- limits
// --------------------------------------------------------------------------------------------------------

TEST_F(ServerTest, StopsReadingFromAPeerThatDoesNotRead) {
  std::atomic<size_t> handled = 0;
  const std::string large(64 << 10, 'x');
  server_->HandleRaw("test.Echo", "Large", [&](CallContext, const std::string&, RawResponder responder) {
    ++handled;
    responder.Respond(large);
  });
  RawPeer peer;
  Serve(peer);
  // As many requests as fit into the socket's buffers once the server has stopped.
  ::ttrpc::Request request;
  request.set_service("test.Echo");
  request.set_method("Large");
  size_t sent = 0;
  for (;; ++sent) {
    const std::string frame =
        EncodeFrame(2 * sent + 1, FrameType::kRequest, 0, request.SerializeAsString()).value();
    const auto patience = handled < 128 ? std::chrono::milliseconds(kLong) : 500ms;
    if (!WaitFd(peer.fd(), POLLOUT, Deadline::After(patience), "room")) break;
    ASSERT_EQ(send(peer.fd(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    ASSERT_LT(sent, 1000000u);
  }
  // 8 MiB are 128 such responses; the rest is what the socket itself holds.
  EXPECT_GE(handled, 128u);
  EXPECT_LE(handled, 256u);
  EXPECT_GT(sent, handled);
  for (size_t i = 0; i < sent; ++i) {
    const RawPeer::Answer answer = peer.ReceiveAnswer();
    ASSERT_EQ(answer.stream_id, 2 * i + 1);
    ASSERT_EQ(answer.payload.size(), large.size());
  }
  EXPECT_EQ(handled, sent);
}

TEST_F(ServerTest, GivesUpAPeerForWhichTooMuchWaits) {
  RawPeer peer;
  Serve(peer);
  constexpr int kCalls = 100;
  for (int i = 0; i < kCalls; ++i) peer.SendRequest(2 * i + 1, "test.Echo", "Keep");
  const std::string large(1 << 20, 'x');
  for (RawResponder& responder : WaitKept(kCalls)) responder.Respond(large);
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, LimitsTheCallsInFlight) {
  RawPeer peer;
  Serve(peer);
  for (uint32_t i = 0; i < 4096; ++i) peer.SendRequest(2 * i + 1, "test.Echo", "Keep");
  peer.SendRequest(2 * 4096 + 1, "test.Echo", "Keep");
  RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.stream_id, 2 * 4096 + 1u);
  EXPECT_EQ(answer.code, kWireResourceExhausted);
  std::vector<RawResponder> responders = WaitKept(4096);
  responders[7].Respond("done");
  EXPECT_EQ(peer.ReceiveAnswer().stream_id, 15u);
  peer.SendRequest(2 * 4097 + 1, "test.Echo", "Echo", "room again");
  EXPECT_EQ(peer.ReceiveAnswer().payload, "room again");
  peer.Close();
  EXPECT_TRUE(WaitClosed());
}

TEST_F(ServerTest, LimitsTheBytesOfCallsInFlight) {
  RawPeer peer;
  Serve(peer);
  const std::string large(4000 << 10, 'x');
  for (uint32_t i = 0; i < 16; ++i) peer.SendRequest(2 * i + 1, "test.Echo", "Keep", large);
  peer.SendRequest(33, "test.Echo", "Keep", large);
  const RawPeer::Answer answer = peer.ReceiveAnswer();
  EXPECT_EQ(answer.stream_id, 33u);
  EXPECT_EQ(answer.code, kWireResourceExhausted);
  const std::vector<RawResponder> responders = WaitKept(16);
  peer.Close();
  EXPECT_TRUE(WaitClosed());
}

// --- kinds of streams
// ----------------------------------------------------------------------------------------------

class ListenTest : public ServerTest {
 protected:
  // An abstract socket: no file to remove.
  sockaddr_un Address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "kata-ttrpc-test-%d", getpid());
    return address;
  }
  void Listen(size_t max_connections) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = Address();
    ASSERT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(socket.get(), 16), 0);
    server_->Listen(std::move(socket), max_connections);
  }
  RawPeer Connect() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = Address();
    EXPECT_EQ(connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return RawPeer(std::move(socket));
  }
};

TEST_F(ListenTest, ServesManyConnections) {
  Listen(128);
  std::vector<RawPeer> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(Connect());
  for (RawPeer& peer : peers) peer.SendRequest(1, "test.Echo", "Echo", "hi");
  for (RawPeer& peer : peers) EXPECT_EQ(peer.ReceiveAnswer().payload, "hi");
}

TEST_F(ListenTest, ConnectionsAboveTheLimitWait) {
  Listen(2);
  RawPeer first = Connect();
  RawPeer second = Connect();
  first.SendRequest(1, "test.Echo", "Echo");
  EXPECT_EQ(first.ReceiveAnswer().code, 0);
  second.SendRequest(1, "test.Echo", "Echo");
  EXPECT_EQ(second.ReceiveAnswer().code, 0);
  std::vector<RawPeer> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(Connect());
    waiting.back().SendRequest(1, "test.Echo", "Echo", "hi");
  }
  EXPECT_FALSE(WaitFd(waiting[0].fd(), POLLIN, Deadline::After(50ms), "an answer that must not come yet"));
  first.Close();
  EXPECT_EQ(waiting[0].ReceiveAnswer().payload, "hi");
  second.Close();
  EXPECT_EQ(waiting[1].ReceiveAnswer().payload, "hi");
  waiting[0].Close();
  EXPECT_EQ(waiting[2].ReceiveAnswer().payload, "hi");
}

// Character devices: a pseudo terminal stands in for a virtio-serial port.
TEST_F(ServerTest, ServesCharacterDevicesAgainAfterAHangup) {
  UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(master.valid());
  ASSERT_EQ(grantpt(master.get()), 0);
  ASSERT_EQ(unlockpt(master.get()), 0);
  const std::string path = ptsname(master.get());
  RawPeer peer(std::move(master));

  for (int round = 0; round < 2; ++round) {
    ASSERT_OK_AND_ASSIGN(UniqueFd slave, Open(path, O_RDWR | O_NOCTTY));
    termios mode;
    ASSERT_EQ(tcgetattr(slave.get(), &mode), 0);
    cfmakeraw(&mode);
    ASSERT_EQ(tcsetattr(slave.get(), TCSANOW, &mode), 0);
    std::promise<void> closed;
    server_->Serve(std::move(slave), [&](uint64_t) { closed.set_value(); });
    const uint32_t stream_id = 1;
    peer.SendRequest(stream_id, "test.Echo", "Echo", "hi");
    EXPECT_EQ(peer.ReceiveAnswer().payload, "hi");
    // The protocol error ends this round; the device is closed and can be served anew.
    peer.SendRequest(stream_id, "test.Echo", "Echo", "hi");
    EXPECT_EQ(closed.get_future().wait_for(kLong), std::future_status::ready);
  }

  ASSERT_OK_AND_ASSIGN(UniqueFd slave, Open(path, O_RDWR | O_NOCTTY));
  std::promise<void> closed;
  server_->Serve(std::move(slave), [&](uint64_t) { closed.set_value(); });
  peer.Close();  // a hangup: the slave reads EIO
  EXPECT_EQ(closed.get_future().wait_for(kLong), std::future_status::ready);
}

}  // namespace
}  // namespace kata::ttrpc
