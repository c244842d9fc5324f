// Any bytes as a ttrpc stream: the decoder gives the same frames however the stream is cut, keeps its limits,
// and what it gives encodes to the same bytes. The frames' data then goes through the message parsers.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ttrpc.pb.h"
#include "ttrpc/frame.h"

namespace {

using kata::ttrpc::Frame;
using kata::ttrpc::FrameDecoder;
using kata::ttrpc::FrameType;

void Check(bool condition) {
  if (!condition) abort();
}

// The frames of `stream` when it arrives in pieces of `piece` bytes.
std::vector<Frame> Decode(std::string_view stream, size_t piece) {
  FrameDecoder decoder;
  std::vector<Frame> frames;
  while (!stream.empty()) {
    std::string_view input = stream.substr(0, piece);
    stream.remove_prefix(input.size());
    while (std::optional<Frame> frame = decoder.Next(input)) frames.push_back(std::move(*frame));
    Check(input.empty());
  }
  return frames;
}

bool Same(const Frame& a, const Frame& b) {
  return a.stream_id == b.stream_id && a.type == b.type && a.flags == b.flags && a.oversize == b.oversize &&
         a.data == b.data;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  const std::vector<Frame> frames = Decode(stream, size);
  for (const size_t piece : {size_t{1}, size_t{7}}) {
    const std::vector<Frame> same = Decode(stream, piece);
    Check(same.size() == frames.size());
    for (size_t i = 0; i < frames.size(); ++i) Check(Same(frames[i], same[i]));
  }
  std::string encoded;
  bool all_whole = true;
  for (const Frame& frame : frames) {
    Check(frame.data.size() <= kata::ttrpc::kMaxDataSize);
    Check(!frame.oversize || frame.data.empty());
    all_whole = all_whole && !frame.oversize;
    encoded +=
        kata::ttrpc::EncodeFrame(frame.stream_id, static_cast<FrameType>(frame.type), frame.flags, frame.data)
            .value();
    ::ttrpc::Request request;
    (void)request.ParseFromString(frame.data);
    ::ttrpc::Response response;
    (void)response.ParseFromString(frame.data);
  }
  if (all_whole) Check(stream.starts_with(encoded));
  return 0;
}
