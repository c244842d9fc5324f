#include "base/utf8.h"

#include <algorithm>

namespace kata {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

}  // namespace

CodePoint DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {0, 0};
  char32_t value = lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {0, 0};
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {0, 0};
  return {length, value};
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    out += point.length == 0 ? kReplacement : text.substr(0, point.length);
    text.remove_prefix(std::max<size_t>(point.length, 1));
  }
  return out;
}

std::string_view TruncateUtf8(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // Bytes 10xxxxxx continue a sequence.
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

std::string ToPlainLine(std::string_view text, size_t max_bytes) {
  std::string out;
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    const std::string_view piece = point.length == 0        ? kReplacement
                                   : IsControl(point.value) ? std::string_view(" ")
                                                            : text.substr(0, point.length);
    if (out.size() + piece.size() > max_bytes) break;
    out += piece;
    text.remove_prefix(std::max<size_t>(point.length, 1));
  }
  return out;
}

}  // namespace kata
