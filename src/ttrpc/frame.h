// The ttrpc frame: a 10-byte header and data (containerd/ttrpc PROTOCOL.md; docs/protocols/ttrpc.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::ttrpc {

inline constexpr size_t kHeaderSize = 10;
inline constexpr uint32_t kMaxDataSize = 4u << 20;

enum class FrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };
inline constexpr uint8_t kFlagRemoteClosed = 0x01;
inline constexpr uint8_t kFlagRemoteOpen = 0x02;
inline constexpr uint8_t kFlagNoData = 0x04;

struct Frame {
  uint32_t stream_id = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  std::string data;
  // Set when the sender announced more than kMaxDataSize: the data is discarded, `data` is empty.
  bool oversize = false;
};

// Header and data as bytes; kResourceExhausted when the data is longer than kMaxDataSize.
Result<std::string> EncodeFrame(uint32_t stream_id, FrameType type, uint8_t flags, std::string_view data);

// Cuts a byte stream into frames. Memory stays bounded by one frame whatever the peer announces: an oversize
// frame is returned as soon as its header is there, and its data is skipped by the calls that follow, not
// stored. Not thread safe.
class FrameDecoder {
 public:
  // Consumes bytes from the front of `input` until a frame is whole or the input is used up.
  std::optional<Frame> Next(std::string_view& input);
  // True between frames, where a stream may end.
  bool AtBoundary() const { return header_.empty() && skip_ == 0; }

 private:
  std::string header_;      // as far as it has come
  Frame frame_;             // the one whose data is coming, valid once the header is whole
  uint32_t remaining_ = 0;  // bytes of frame_'s data still to come
  uint32_t skip_ = 0;       // bytes of an oversize frame's data still to come
};

}  // namespace kata::ttrpc
