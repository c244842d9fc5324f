#include "ttrpc/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "support/result_matchers.h"

namespace kata::ttrpc {
namespace {

using namespace std::string_literals;
using test::IsErrorCode;

// Length 3, stream 5, request, no flags, "abc".
const std::string kGolden = "\x00\x00\x00\x03\x00\x00\x00\x05\x01\x00"s + "abc";

std::string Header(uint32_t length, uint32_t stream_id, uint8_t type, uint8_t flags) {
  std::string header;
  for (const uint32_t value : {length, stream_id}) {
    for (int shift = 24; shift >= 0; shift -= 8) header += static_cast<char>(value >> shift);
  }
  return header + static_cast<char>(type) + static_cast<char>(flags);
}

std::vector<Frame> DecodeAll(FrameDecoder& decoder, std::string_view input) {
  std::vector<Frame> frames;
  while (std::optional<Frame> frame = decoder.Next(input)) frames.push_back(std::move(*frame));
  EXPECT_TRUE(input.empty());
  return frames;
}

TEST(EncodeFrameTest, WritesTheHeaderBigEndian) {
  ASSERT_OK_AND_ASSIGN(const std::string frame, EncodeFrame(5, FrameType::kRequest, 0, "abc"));
  EXPECT_EQ(frame, kGolden);
  ASSERT_OK_AND_ASSIGN(const std::string other, EncodeFrame(0x01020304, FrameType::kData, kFlagNoData, ""));
  EXPECT_EQ(other, "\x00\x00\x00\x00\x01\x02\x03\x04\x03\x04"s);
}

TEST(EncodeFrameTest, RefusesMoreThanFourMebibytes) {
  EXPECT_OK(EncodeFrame(1, FrameType::kRequest, 0, std::string(4 << 20, 'x')));
  EXPECT_THAT(EncodeFrame(1, FrameType::kRequest, 0, std::string((4 << 20) + 1, 'x')),
              IsErrorCode(Code::kResourceExhausted));
}

TEST(FrameDecoderTest, TakesBytesOneByOne) {
  FrameDecoder decoder;
  const std::string bytes = kGolden + kGolden;
  std::vector<size_t> ends;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string_view input = std::string_view(bytes).substr(i, 1);
    const std::optional<Frame> frame = decoder.Next(input);
    EXPECT_TRUE(input.empty());
    if (!frame) continue;
    ends.push_back(i + 1);
    EXPECT_EQ(frame->stream_id, 5u);
    EXPECT_EQ(frame->type, 1);
    EXPECT_EQ(frame->flags, 0);
    EXPECT_EQ(frame->data, "abc");
    EXPECT_FALSE(frame->oversize);
    EXPECT_TRUE(decoder.AtBoundary());
  }
  EXPECT_THAT(ends, testing::ElementsAre(13, 26));
}

TEST(FrameDecoderTest, CutsManyFramesFromOneInput) {
  FrameDecoder decoder;
  const std::string empty = Header(0, 7, 2, 0);
  const std::vector<Frame> frames = DecodeAll(decoder, kGolden + empty + kGolden + kGolden.substr(0, 11));
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].data, "abc");
  EXPECT_EQ(frames[1].stream_id, 7u);
  EXPECT_EQ(frames[1].data, "");
  EXPECT_EQ(frames[2].data, "abc");
  EXPECT_FALSE(decoder.AtBoundary());
  EXPECT_EQ(DecodeAll(decoder, "bc").at(0).data, "abc");
}

TEST(FrameDecoderTest, KeepsFourMebibytes) {
  FrameDecoder decoder;
  const std::vector<Frame> frames = DecodeAll(decoder, Header(4 << 20, 1, 1, 0) + std::string(4 << 20, 'x'));
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].data.size(), 4u << 20);
  EXPECT_FALSE(frames[0].oversize);
}

TEST(FrameDecoderTest, SkipsOversizeData) {
  constexpr uint32_t kLength = (4 << 20) + 1;
  FrameDecoder decoder;
  std::vector<Frame> frames = DecodeAll(decoder, Header(kLength, 9, 1, 0));
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(frames[0].oversize);
  EXPECT_EQ(frames[0].stream_id, 9u);
  EXPECT_FALSE(decoder.AtBoundary());
  EXPECT_TRUE(DecodeAll(decoder, std::string(kLength - 1, 'x')).empty());
  frames = DecodeAll(decoder, "x" + kGolden);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].data, "abc");
  EXPECT_FALSE(frames[0].oversize);
}

TEST(FrameDecoderTest, SkipsTheLargestLength) {
  FrameDecoder decoder;
  EXPECT_TRUE(DecodeAll(decoder, Header(0xffffffff, 1, 1, 0)).at(0).oversize);
  const std::string chunk(64 << 20, 'x');
  for (int i = 0; i < 63; ++i) EXPECT_TRUE(DecodeAll(decoder, chunk).empty());
  EXPECT_TRUE(DecodeAll(decoder, std::string_view(chunk).substr(1)).empty());
  EXPECT_EQ(DecodeAll(decoder, kGolden).size(), 1u);
}

}  // namespace
}  // namespace kata::ttrpc
