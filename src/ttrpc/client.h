// ttrpc client: calls methods over one stream, many calls in flight, each with a deadline.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::ttrpc {

// Thread safe. When the stream ends, every call in flight and every later one fails with kUnavailable. The
// message of a server's error is that of the server, on one line.
class Client {
 public:
  // `loop` is borrowed, must outlive the client and must be run by some thread. `first_stream_id`: odd; 1 but
  // for tests.
  Client(EventLoop& loop, UniqueFd stream, uint32_t first_stream_id = 1);
  // Calls in flight fail before this returns; on another thread than the loop's it waits for the loop.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  using Timeout = std::optional<std::chrono::nanoseconds>;  // nullopt: no limit (WaitProcess, ReadStdout)
  using RawCallback = std::move_only_function<void(Result<std::string>)>;
  // `callback` runs exactly once, on the loop thread. A time-out ends the call with kDeadlineExceeded; a late
  // answer is discarded.
  void CallRaw(const std::string& service, const std::string& method, std::string payload, Timeout timeout,
               RawCallback callback);
  // Blocks the calling thread, which must not be the loop thread (checked).
  Result<std::string> CallRawSync(const std::string& service, const std::string& method, std::string payload,
                                  Timeout timeout);

  // callback: void(Result<Response>).
  template <typename Response, typename Request, typename Callback>
  void Call(const std::string& service, const std::string& method, const Request& request, Timeout timeout,
            Callback callback) {
    CallRaw(service, method, request.SerializeAsString(), timeout,
            [callback = std::move(callback)](Result<std::string> payload) mutable {
              callback(Parse<Response>(std::move(payload)));
            });
  }
  template <typename Response, typename Request>
  Result<Response> CallSync(const std::string& service, const std::string& method, const Request& request,
                            Timeout timeout) {
    return Parse<Response>(CallRawSync(service, method, request.SerializeAsString(), timeout));
  }

  // Runs `callback` once on the loop thread when the stream is gone (soon, if it is already), or when the
  // client is destroyed.
  void OnClosed(std::function<void()> callback);
  // Ends the stream; calls in flight fail.
  void Close();

  class Impl;

 private:
  template <typename Response>
  static Result<Response> Parse(Result<std::string> payload) {
    if (!payload) return std::move(payload).error();
    Response response;
    if (!response.ParseFromString(*payload)) return Error(Code::kInternal, "the response does not parse");
    return response;
  }
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata::ttrpc
