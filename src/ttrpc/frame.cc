#include "ttrpc/frame.h"

#include <algorithm>
#include <utility>

namespace kata::ttrpc {
namespace {

void AppendBigEndian(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

uint32_t ReadBigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// At most `count` bytes from the front of `input`.
std::string_view Take(std::string_view& input, size_t count) {
  const std::string_view taken = input.substr(0, count);
  input.remove_prefix(taken.size());
  return taken;
}

}  // namespace

Result<std::string> EncodeFrame(uint32_t stream_id, FrameType type, uint8_t flags, std::string_view data) {
  if (data.size() > kMaxDataSize) {
    return MakeError(Code::kResourceExhausted,
                     "a message of {} bytes is longer than the {} that ttrpc allows", data.size(),
                     kMaxDataSize);
  }
  std::string frame;
  frame.reserve(kHeaderSize + data.size());
  AppendBigEndian(frame, static_cast<uint32_t>(data.size()));
  AppendBigEndian(frame, stream_id);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  frame += data;
  return frame;
}

std::optional<Frame> FrameDecoder::Next(std::string_view& input) {
  skip_ -= static_cast<uint32_t>(Take(input, skip_).size());
  if (header_.size() < kHeaderSize) {
    header_ += Take(input, kHeaderSize - header_.size());
    if (header_.size() < kHeaderSize) return std::nullopt;
    frame_ = Frame();
    frame_.stream_id = ReadBigEndian(std::string_view(header_).substr(4));
    frame_.type = static_cast<uint8_t>(header_[8]);
    frame_.flags = static_cast<uint8_t>(header_[9]);
    remaining_ = ReadBigEndian(header_);
    if (remaining_ > kMaxDataSize) {
      frame_.oversize = true;
      skip_ = std::exchange(remaining_, 0);
    }
  }
  const std::string_view data = Take(input, remaining_);
  frame_.data += data;
  remaining_ -= static_cast<uint32_t>(data.size());
  if (remaining_ > 0) return std::nullopt;
  header_.clear();
  return std::move(frame_);
}

}  // namespace kata::ttrpc
