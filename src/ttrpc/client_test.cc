#include "ttrpc/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/raw_peer_test.h"
#include "ttrpc/server.h"

namespace kata::ttrpc {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::IsError;
using test::IsErrorCode;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto kLong = 60s;

class ClientTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override { client_ = std::make_unique<Client>(loop_.loop(), peer_.TakeOtherEnd()); }

  // A call whose result is waited for later.
  std::future<Result<std::string>> Call(const std::string& method, const std::string& payload = "",
                                        Client::Timeout timeout = kLong) {
    auto promise = std::make_shared<std::promise<Result<std::string>>>();
    client_->CallRaw("test.Echo", method, payload, timeout,
                     [promise](Result<std::string> result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  }

  RawPeer peer_;
  EventLoopThread loop_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, SendsGoldenBytes) {
  std::future<Result<std::string>> first = Call("Echo", "hi", std::nullopt);
  // Request{service: "test.Echo", method: "Echo", payload: "hi"} on stream 1, then 3.
  const std::string body = "\x0a\x09"s + "test.Echo" + "\x12\x04" + "Echo" + "\x1a\x02" + "hi";
  EXPECT_EQ(peer_.Receive(31), "\x00\x00\x00\x15\x00\x00\x00\x01\x01\x00"s + body);
  peer_.Send("\x00\x00\x00\x04\x00\x00\x00\x01\x02\x00"s + "\x12\x02" + "ho");
  EXPECT_EQ(first.get().value_or(""), "ho");
  std::future<Result<std::string>> second = Call("Echo", "hi", std::nullopt);
  EXPECT_EQ(peer_.Receive(31), "\x00\x00\x00\x15\x00\x00\x00\x03\x01\x00"s + body);
  peer_.Send("\x00\x00\x00\x00\x00\x00\x00\x03\x02\x00"s);
  EXPECT_EQ(second.get().value_or("none"), "");
}

TEST_F(ClientTest, SendsWhatIsLeftOfTheTime) {
  std::future<Result<std::string>> call = Call("Echo", "", 30s);
  ::ttrpc::Request request;
  const uint32_t stream_id = peer_.ReceiveRequest(&request);
  EXPECT_GT(request.timeout_nano(), std::chrono::nanoseconds(1s).count());
  EXPECT_LE(request.timeout_nano(), std::chrono::nanoseconds(30s).count());
  peer_.SendResponse(stream_id, "");
  EXPECT_OK(call.get());
}

TEST_F(ClientTest, TakesAnswersInAnyOrder) {
  std::vector<std::future<Result<std::string>>> calls;
  std::vector<uint32_t> streams;
  for (int i = 0; i < 10; ++i) calls.push_back(Call("Echo"));
  for (int i = 0; i < 10; ++i) streams.push_back(peer_.ReceiveRequest());
  for (int i = 9; i >= 0; --i) peer_.SendResponse(streams[i], std::to_string(i));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(calls[i].get().value_or(""), std::to_string(i));
}

TEST_F(ClientTest, StreamNumbersBeginAgain) {
  RawPeer peer;
  client_ = std::make_unique<Client>(loop_.loop(), peer.TakeOtherEnd(), UINT32_MAX);
  std::future<Result<std::string>> waiting = Call("Wait");
  EXPECT_EQ(peer.ReceiveRequest(), UINT32_MAX);
  std::future<Result<std::string>> call = Call("Echo");
  EXPECT_EQ(peer.ReceiveRequest(), 1u);
  peer.SendResponse(1, "again");
  EXPECT_EQ(call.get().value_or(""), "again");
  peer.SendResponse(UINT32_MAX, "late");
  EXPECT_EQ(waiting.get().value_or(""), "late");
}

TEST_F(ClientTest, MapsStatusToErrors) {
  const auto answer = [&](int code, const std::string& message) {
    std::future<Result<std::string>> call = Call("Echo");
    ::ttrpc::Response response;
    response.mutable_status()->set_code(code);
    response.mutable_status()->set_message(message);
    peer_.SendFrame(peer_.ReceiveRequest(), FrameType::kResponse, 0, response.SerializeAsString());
    return call.get();
  };
  EXPECT_THAT(answer(5, "no container 'c1'"), IsError(Code::kNotFound, "no container 'c1'"));
  EXPECT_THAT(answer(15, "x"), IsErrorCode(Code::kDataLoss));
  EXPECT_THAT(answer(16, "x"), IsErrorCode(Code::kUnknown));
  EXPECT_THAT(answer(-1, "x"), IsErrorCode(Code::kUnknown));
  EXPECT_THAT(answer(13, ""), IsError(Code::kInternal, HasSubstr("code 13")));
  // A hostile message stays on its line and is valid UTF-8.
  EXPECT_THAT(answer(13, "a\nb\x1b[2J\xff"), IsError(Code::kInternal, "a b [2J\xef\xbf\xbd"));
  const Result<std::string> long_message = answer(13, std::string(1 << 20, 'x'));
  EXPECT_LE(long_message.error().message().size(), 8192u);
}

TEST_F(ClientTest, AnAnswerThatDoesNotParseFailsItsCallOnly) {
  std::future<Result<std::string>> first = Call("Echo");
  std::future<Result<std::string>> second = Call("Echo");
  peer_.SendFrame(peer_.ReceiveRequest(), FrameType::kResponse, 0, "\xff");
  EXPECT_THAT(first.get(), IsErrorCode(Code::kInternal));
  peer_.SendResponse(peer_.ReceiveRequest(), "fine");
  EXPECT_EQ(second.get().value_or(""), "fine");
}

TEST_F(ClientTest, CallsEndAtTheirDeadlineAndLateAnswersAreDiscarded) {
  std::future<Result<std::string>> call = Call("Slow", "", 300ms);
  const uint32_t stream_id = peer_.ReceiveRequest();
  EXPECT_THAT(call.get(), IsError(Code::kDeadlineExceeded, "call 'test.Echo/Slow': deadline exceeded"));
  peer_.SendResponse(stream_id, "late");
  std::future<Result<std::string>> next = Call("Echo");
  peer_.SendResponse(peer_.ReceiveRequest(), "in time");
  EXPECT_EQ(next.get().value_or(""), "in time");
  EXPECT_THAT(Call("Echo", "", 0s).get(), IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(ClientTest, APeerThatLeavesFailsAllCalls) {
  std::vector<std::future<Result<std::string>>> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(Call("Wait", "", std::nullopt));
  std::promise<void> closed;
  client_->OnClosed([&] { closed.set_value(); });
  for (int i = 0; i < 10; ++i) peer_.ReceiveRequest();
  peer_.Send("\x00\x00"s);
  peer_.Close();
  for (std::future<Result<std::string>>& call : calls) {
    EXPECT_THAT(call.get(),
                IsError(Code::kUnavailable, AllOf(HasSubstr("call 'test.Echo/Wait': "),
                                                  HasSubstr("the peer closed the stream within a frame"))));
  }
  EXPECT_EQ(closed.get_future().wait_for(kLong), std::future_status::ready);
  EXPECT_THAT(Call("Echo").get(), IsErrorCode(Code::kUnavailable));
  std::promise<void> closed_already;
  client_->OnClosed([&] { closed_already.set_value(); });
  EXPECT_EQ(closed_already.get_future().wait_for(kLong), std::future_status::ready);
}

TEST_F(ClientTest, GarbageEndsTheConnection) {
  std::future<Result<std::string>> call = Call("Echo");
  peer_.ReceiveRequest();
  peer_.Send("HTTP/1.1 400 Bad Request\r\n");
  EXPECT_THAT(call.get(), IsError(Code::kUnavailable, HasSubstr("broke the protocol")));
  EXPECT_TRUE(peer_.AtEnd());
}

TEST_F(ClientTest, OversizeMessagesFailTheirCallOnly) {
  EXPECT_THAT(Call("Echo", std::string(4 << 20, 'x')).get(), IsErrorCode(Code::kResourceExhausted));
  std::future<Result<std::string>> call = Call("Echo");
  EXPECT_EQ(peer_.ReceiveRequest(), 1u);
  peer_.Send("\x00\x40\x00\x01\x00\x00\x00\x01\x02\x00"s + std::string((4 << 20) + 1, 'x'));
  EXPECT_THAT(call.get(), IsErrorCode(Code::kResourceExhausted));
  std::future<Result<std::string>> next = Call("Echo");
  peer_.SendResponse(peer_.ReceiveRequest(), "alive");
  EXPECT_EQ(next.get().value_or(""), "alive");
}

TEST_F(ClientTest, APeerThatDoesNotReadIsGivenUp) {
  std::vector<std::future<Result<std::string>>> calls;
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 70; ++i) calls.push_back(Call("Echo", large));
  for (std::future<Result<std::string>>& call : calls) {
    EXPECT_THAT(call.get(), IsError(Code::kUnavailable, HasSubstr("the peer does not read")));
  }
}

TEST_F(ClientTest, CloseFailsCallsInFlight) {
  std::future<Result<std::string>> call = Call("Wait", "", std::nullopt);
  peer_.ReceiveRequest();
  client_->Close();
  EXPECT_THAT(call.get(), IsError(Code::kUnavailable, HasSubstr("closed by this side")));
  EXPECT_TRUE(peer_.AtEnd());
}

TEST_F(ClientTest, DestructionFailsEachCallOnceBeforeItReturns) {
  std::atomic<int> failed = 0;
  std::atomic<int> closed = 0;
  for (int i = 0; i < 50; ++i) {
    client_->CallRaw("test.Echo", "Wait", "", kLong, [&](Result<std::string> result) {
      EXPECT_TRUE(loop_.loop().IsLoopThread());
      if (!result && result.error().code() == Code::kUnavailable) ++failed;
    });
  }
  client_->OnClosed([&] { ++closed; });
  client_.reset();
  EXPECT_EQ(failed, 50);
  EXPECT_EQ(closed, 1);
}

TEST_F(ClientTest, ACallbackMayDestroyTheClient) {
  std::promise<int> done;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 3; ++i) {
    client_->CallRaw("test.Echo", "Wait", "", kLong, [&](const Result<std::string>&) { ++failed; });
  }
  client_->CallRaw("test.Echo", "Echo", "", kLong, [&](const Result<std::string>&) {
    client_.reset();
    done.set_value(failed);
  });
  uint32_t stream_id = 0;
  for (int i = 0; i < 4; ++i) stream_id = peer_.ReceiveRequest();
  peer_.SendResponse(stream_id, "");
  EXPECT_EQ(done.get_future().get(), 3);
}

TEST_F(ClientTest, FirstCallbackOfAClosingConnectionMayDestroyTheClient) {
  std::atomic<int> failed = 0;
  std::promise<void> last;
  for (int i = 0; i < 5; ++i) {
    client_->CallRaw("test.Echo", "Wait", "", kLong, [&](const Result<std::string>&) {
      client_.reset();
      if (++failed == 5) last.set_value();
    });
  }
  peer_.ReceiveRequest();
  peer_.Close();
  EXPECT_EQ(last.get_future().wait_for(kLong), std::future_status::ready);
  EXPECT_EQ(failed, 5);
}

TEST(ClientWithoutLoopTest, DestructionNeedsNoRunningLoop) {
  EventLoop loop;
  RawPeer peer;
  int failed = 0;
  {
    Client client(loop, peer.TakeOtherEnd());
    client.CallRaw("test.Echo", "Echo", "", kLong, [&](const Result<std::string>& result) {
      EXPECT_THAT(result, IsErrorCode(Code::kUnavailable));
      ++failed;
    });
  }
  EXPECT_EQ(failed, 1);
  EXPECT_TRUE(peer.AtEnd());
}

TEST(ClientDeathTest, ASynchronousCallOnTheLoopThreadIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        EventLoop loop;
        RawPeer peer;
        Client client(loop, peer.TakeOtherEnd());
        loop.Post([&] { (void)client.CallRawSync("test.Echo", "Echo", "", kLong); });
        loop.Run();
      },
      "synchronous call of 'test.Echo/Echo' on the loop thread");
}

// --- client and server together
// ------------------------------------------------------------------------------------

class RoundTripTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    server_.Handle<::ttrpc::KeyValue, ::ttrpc::KeyValue>(
        "test.Echo", "Echo",
        [this](const CallContext&, ::ttrpc::KeyValue request, Responder<::ttrpc::KeyValue> responder) {
          workers_.Post([request = std::move(request), responder = std::move(responder)]() mutable {
            if (request.key().empty()) {
              responder.Respond(Error(Code::kInvalidArgument, "no key"));
            } else {
              responder.Respond(std::move(request));
            }
          });
        });
    SocketPairEnds ends = MakeSocketPair(SOCK_STREAM).value();
    server_.Serve(std::move(ends.first));
    client_.emplace(client_loop_.loop(), std::move(ends.second));
  }

  EventLoopThread server_loop_;
  EventLoopThread client_loop_;
  Server server_{server_loop_.loop()};
  WorkerPool workers_{2};
  std::optional<Client> client_;
};

TEST_F(RoundTripTest, ManyThreadsCallAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 200; ++i) {
        ::ttrpc::KeyValue request;
        request.set_key(std::to_string(t) + "-" + std::to_string(i));
        request.set_value(std::string(i * 100, 'v'));
        const Result<::ttrpc::KeyValue> response =
            client_->CallSync<::ttrpc::KeyValue>("test.Echo", "Echo", request, kLong);
        ASSERT_OK(response);
        ASSERT_EQ(response->key(), request.key());
        ASSERT_EQ(response->value().size(), request.value().size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(RoundTripTest, ErrorsOfHandlersArriveWithCodeAndMessage) {
  const Result<::ttrpc::KeyValue> response =
      client_->CallSync<::ttrpc::KeyValue>("test.Echo", "Echo", ::ttrpc::KeyValue(), kLong);
  EXPECT_THAT(response, IsError(Code::kInvalidArgument, "no key"));
  EXPECT_THAT(client_->CallSync<::ttrpc::KeyValue>("test.Echo", "None", ::ttrpc::KeyValue(), kLong),
              IsError(Code::kUnimplemented, "service 'test.Echo' has no method 'None'"));
}

TEST_F(RoundTripTest, LargeMessagesPass) {
  ::ttrpc::KeyValue request;
  request.set_key("k");
  request.set_value(std::string((4 << 20) - 100, 'v'));
  std::promise<size_t> size;
  client_->Call<::ttrpc::KeyValue>("test.Echo", "Echo", request, kLong,
                                   [&](const Result<::ttrpc::KeyValue>& response) {
                                     size.set_value(response ? response->value().size() : 0);
                                   });
  EXPECT_EQ(size.get_future().get(), (4u << 20) - 100);
}

}  // namespace
}  // namespace kata::ttrpc
