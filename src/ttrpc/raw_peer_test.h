// For the tests of server and client: the other end of a connection, as bytes and frames.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/deadline.h"
#include "base/file.h"
#include "base/unique_fd.h"
#include "proto/ttrpc.pb.h"
#include "ttrpc/frame.h"

namespace kata::ttrpc {

class RawPeer {
 public:
  // Keeps one end of a socket pair.
  RawPeer() {
    SocketPairEnds ends = MakeSocketPair(SOCK_STREAM).value();
    stream_ = std::move(ends.first);
    other_end_ = std::move(ends.second);
  }
  explicit RawPeer(UniqueFd stream) : stream_(std::move(stream)) {}
  // The end for the server or client under test.
  UniqueFd TakeOtherEnd() { return std::move(other_end_); }

  void Send(std::string_view bytes) { ASSERT_TRUE(WriteAll(stream_.get(), bytes).has_value()); }
  void SendFrame(uint32_t stream_id, FrameType type, uint8_t flags, std::string_view data) {
    Send(EncodeFrame(stream_id, type, flags, data).value());
  }
  void SendRequest(uint32_t stream_id, const std::string& service, const std::string& method,
                   const std::string& payload = "", int64_t timeout_nano = 0) {
    ::ttrpc::Request request;
    request.set_service(service);
    request.set_method(method);
    request.set_payload(payload);
    request.set_timeout_nano(timeout_nano);
    SendFrame(stream_id, FrameType::kRequest, 0, request.SerializeAsString());
  }
  void SendResponse(uint32_t stream_id, const std::string& payload) {
    ::ttrpc::Response response;
    response.set_payload(payload);
    SendFrame(stream_id, FrameType::kResponse, 0, response.SerializeAsString());
  }

  // Exactly `count` bytes, fewer at the end of the stream.
  std::string Receive(size_t count) {
    std::string bytes;
    while (bytes.size() < count) {
      const std::string piece = ReceiveSome(count - bytes.size());
      if (piece.empty()) break;
      bytes += piece;
    }
    return bytes;
  }
  // The next frame, nullopt at the end of the stream.
  std::optional<Frame> ReceiveFrame() {
    for (;;) {
      std::string_view input = received_;
      std::optional<Frame> frame = decoder_.Next(input);
      received_.erase(0, received_.size() - input.size());
      if (frame) return frame;
      received_ = ReceiveSome(64 << 10);
      if (received_.empty()) return std::nullopt;
    }
  }
  struct Answer {
    uint32_t stream_id = 0;
    int code = -1;
    std::string message;
    std::string payload;
  };
  Answer ReceiveAnswer() {
    const std::optional<Frame> frame = ReceiveFrame();
    ::ttrpc::Response response;
    if (!frame || frame->type != 2 || !response.ParseFromString(frame->data)) {
      ADD_FAILURE() << "no response frame";
      return {};
    }
    return {frame->stream_id, response.status().code(), response.status().message(), response.payload()};
  }
  // A request's stream; 0 when the stream ended.
  uint32_t ReceiveRequest(::ttrpc::Request* request = nullptr) {
    const std::optional<Frame> frame = ReceiveFrame();
    ::ttrpc::Request ignored;
    if (!frame || !(request != nullptr ? request : &ignored)->ParseFromString(frame->data)) return 0;
    return frame->stream_id;
  }
  bool AtEnd() { return ReceiveSome(1).empty(); }

  int fd() const { return stream_.get(); }
  void Close() { stream_.Reset(); }

 private:
  // At least one byte, none at the end of the stream.
  std::string ReceiveSome(size_t max) {
    const Status ready = WaitFd(stream_.get(), POLLIN, Deadline::After(std::chrono::seconds(60)), "the peer");
    EXPECT_TRUE(ready.has_value()) << ready.error().message();
    std::string bytes(max, '\0');
    const ssize_t count = ready ? read(stream_.get(), bytes.data(), max) : 0;
    bytes.resize(count > 0 ? count : 0);
    return bytes;
  }

  UniqueFd stream_;
  UniqueFd other_end_;
  FrameDecoder decoder_;
  std::string received_;
};

}  // namespace kata::ttrpc
