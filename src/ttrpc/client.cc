#include "ttrpc/client.h"

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <utility>

#include "base/deadline.h"
#include "base/utf8.h"
#include "proto/ttrpc.pb.h"
#include "ttrpc/connection.h"

namespace kata::ttrpc {
namespace {

// Responses are always read: each one was asked for.
constexpr Connection::Limits kLimits{.stop_reading_above = SIZE_MAX, .close_above = 64u << 20};
constexpr size_t kMaxErrorMessage = 8u << 10;

Result<std::string> DecodeResponse(const Frame& frame) {
  if (frame.oversize)
    return Error(Code::kResourceExhausted, "the response is longer than the 4 MiB that ttrpc allows");
  ::ttrpc::Response response;
  if (!response.ParseFromString(frame.data))
    return Error(Code::kInternal, "the ttrpc response does not parse");
  const int code = response.status().code();
  if (code == 0) return std::move(*response.mutable_payload());
  const bool known = code > 0 && code <= static_cast<int>(Code::kDataLoss);
  std::string message = ToPlainLine(response.status().message(), kMaxErrorMessage);
  if (message.empty()) message = fmt::format("the server answered with code {} and no message", code);
  return Error(known ? static_cast<Code>(code) : Code::kUnknown, std::move(message));
}

}  // namespace

// Touched by the loop thread only, save for what the mutex guards. Callbacks may destroy the client: so each
// is taken out of its container before it runs, and loops over callbacks look at the container anew.
class Client::Impl : public std::enable_shared_from_this<Impl> {
 public:
  struct Call {
    std::string service;
    std::string method;
    std::string payload;
    std::optional<Deadline> deadline;
    RawCallback callback;
  };

  Impl(EventLoop& loop, uint32_t first_stream_id) : loop_(loop), next_stream_id_(first_stream_id) {}

  EventLoop& loop() { return loop_; }
  void Open(UniqueFd stream);
  // Any thread.
  void Submit(Call call);
  void OnClosed(std::function<void()> callback);
  // The rest on the loop thread. Close() also ends what was submitted but not begun.
  void Close(const Error& reason);

 private:
  struct Pending {
    std::string name;  // of the method, for messages
    RawCallback callback;
    std::unique_ptr<asio::steady_timer> timer;
  };

  void TakeSubmitted();
  void Start(Call call);
  void StartTimer(uint32_t stream_id, Pending& pending, Deadline deadline);
  void OnFrame(const Frame& frame);
  void Finish(uint32_t stream_id, Result<std::string> result);

  EventLoop& loop_;
  std::shared_ptr<Connection> connection_;
  std::optional<Error> closed_;  // why
  std::map<uint32_t, Pending> pending_;
  uint32_t next_stream_id_;

  std::mutex mutex_;  // for the two below
  std::deque<Call> submitted_;
  std::deque<std::function<void()>> on_closed_;
};

void Client::Impl::Open(UniqueFd stream) {
  connection_ =
      std::make_shared<Connection>(loop_, std::move(stream), kLimits,
                                   Connection::Callbacks{.on_frame =
                                                             [weak = weak_from_this()](const Frame& frame) {
                                                               if (const auto self = weak.lock())
                                                                 self->OnFrame(frame);
                                                             },
                                                         .on_closed =
                                                             [weak = weak_from_this()](const Error& reason) {
                                                               if (const auto self = weak.lock())
                                                                 self->Close(reason);
                                                             }});
  loop_.Post([self = shared_from_this()] {
    if (!self->closed_) self->connection_->Start();
  });
}

void Client::Impl::Submit(Call call) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back(std::move(call));
  }
  loop_.Post([self = shared_from_this()] { self->TakeSubmitted(); });
}

void Client::Impl::TakeSubmitted() {
  for (;;) {
    Call call;
    {
      const std::lock_guard lock(mutex_);
      if (submitted_.empty()) return;
      call = std::move(submitted_.front());
      submitted_.pop_front();
    }
    Start(std::move(call));
  }
}

void Client::Impl::Start(Call call) {
  std::string name = call.service + "/" + call.method;
  if (closed_) {
    call.callback(Error(*closed_).Wrap(fmt::format("call '{}'", name)));
    return;
  }
  if (call.deadline && call.deadline->Passed()) {
    call.callback(MakeError(Code::kDeadlineExceeded, "call '{}': deadline exceeded", name));
    return;
  }
  ::ttrpc::Request request;
  request.set_service(std::move(call.service));
  request.set_method(std::move(call.method));
  request.set_payload(std::move(call.payload));
  if (call.deadline) request.set_timeout_nano(std::max<int64_t>(1, call.deadline->Remaining().count()));

  // They begin again at 1 when all are used up; a call may have been waiting since.
  while (pending_.contains(next_stream_id_)) next_stream_id_ += 2;
  const uint32_t stream_id = next_stream_id_;
  Result<std::string> frame = EncodeFrame(stream_id, FrameType::kRequest, 0, request.SerializeAsString());
  if (!frame) {
    call.callback(std::move(frame).error().Wrap(fmt::format("call '{}'", name)));
    return;
  }
  next_stream_id_ += 2;
  Pending& pending = pending_[stream_id];
  pending.name = std::move(name);
  pending.callback = std::move(call.callback);
  if (call.deadline) StartTimer(stream_id, pending, *call.deadline);
  connection_->Send(std::move(*frame));
}

void Client::Impl::StartTimer(uint32_t stream_id, Pending& pending, Deadline deadline) {
  pending.timer = std::make_unique<asio::steady_timer>(loop_.context(), deadline.time());
  pending.timer->async_wait([weak = weak_from_this(), stream_id](const asio::error_code& error) {
    const auto self = weak.lock();
    if (error || !self) return;
    const auto found = self->pending_.find(stream_id);
    if (found == self->pending_.end()) return;
    self->Finish(stream_id,
                 MakeError(Code::kDeadlineExceeded, "call '{}': deadline exceeded", found->second.name));
  });
}

void Client::Impl::OnFrame(const Frame& frame) {
  if (frame.type != std::to_underlying(FrameType::kResponse)) {
    connection_->Close(MakeError(Code::kUnavailable,
                                 "the peer broke the protocol: frame type {} on stream {}", frame.type,
                                 frame.stream_id));
    return;
  }
  const uint32_t stream_id = frame.stream_id;
  // None is there for an answer that came too late.
  if (pending_.contains(stream_id)) Finish(stream_id, DecodeResponse(frame));
}

void Client::Impl::Finish(uint32_t stream_id, Result<std::string> result) {
  // Taken out first: the callback may destroy the client.
  auto node = pending_.extract(stream_id);
  node.mapped().timer.reset();
  node.mapped().callback(std::move(result));
}

void Client::Impl::OnClosed(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    on_closed_.push_back(std::move(callback));
  }
  loop_.Post([self = shared_from_this()] {
    if (self->closed_) self->Close(*self->closed_);
  });
}

void Client::Impl::Close(const Error& reason) {
  const std::shared_ptr<Impl> self = shared_from_this();
  if (!closed_) closed_ = MakeError(Code::kUnavailable, "the connection is closed: {}", reason.message());
  connection_->Abandon();
  while (!pending_.empty()) {
    const auto& [stream_id, pending] = *pending_.begin();
    Finish(stream_id, Error(*closed_).Wrap(fmt::format("call '{}'", pending.name)));
  }
  TakeSubmitted();
  for (;;) {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      if (on_closed_.empty()) return;
      callback = std::move(on_closed_.front());
      on_closed_.pop_front();
    }
    callback();
  }
}

// --- Client
// --------------------------------------------------------------------------------------------------------

Client::Client(EventLoop& loop, UniqueFd stream, uint32_t first_stream_id)
    : impl_(std::make_shared<Impl>(loop, first_stream_id)) {
  impl_->Open(std::move(stream));
}

Client::~Client() {
  // Kept on the stack: a callback that runs now may see this object in destruction.
  const std::shared_ptr<Impl> impl = impl_;
  impl->loop().RunAndWait([&impl] { impl->Close(Error(Code::kCancelled, "the client was destroyed")); });
}

void Client::CallRaw(const std::string& service, const std::string& method, std::string payload,
                     Timeout timeout, RawCallback callback) {
  std::optional<Deadline> deadline;
  if (timeout) deadline = Deadline::After(*timeout);
  impl_->Submit({service, method, std::move(payload), deadline, std::move(callback)});
}

Result<std::string> Client::CallRawSync(const std::string& service, const std::string& method,
                                        std::string payload, Timeout timeout) {
  if (impl_->loop().IsLoopThread()) {
    fprintf(stderr, "ttrpc: synchronous call of '%s/%s' on the loop thread would never end\n",
            service.c_str(), method.c_str());
    abort();
  }
  std::promise<Result<std::string>> promise;
  std::future<Result<std::string>> answer = promise.get_future();
  CallRaw(service, method, std::move(payload), timeout,
          [promise = std::move(promise)](Result<std::string> result) mutable {
            promise.set_value(std::move(result));
          });
  return answer.get();
}

void Client::OnClosed(std::function<void()> callback) {
  impl_->OnClosed(std::move(callback));
}

void Client::Close() {
  impl_->loop().Post([impl = impl_] { impl->Close(Error(Code::kCancelled, "closed by this side")); });
}

}  // namespace kata::ttrpc
