// UTF-8: decoding, and repair of text that comes from outside.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kata {

struct CodePoint {
  size_t length;  // in bytes; 0: the text does not begin with a valid sequence
  char32_t value;
};
// The sequence at the front of `text`, which is not empty. Truncated and overlong sequences, surrogates and
// values beyond U+10FFFF are invalid.
CodePoint DecodeUtf8(std::string_view text);

// The control characters of ASCII and of Latin-1 (C1): they could drive the terminal that shows a text.
constexpr bool IsControl(char32_t value) {
  return value < 0x20 || (value >= 0x7f && value < 0xa0);
}

// `text` with U+FFFD for each byte that is not part of a valid sequence.
std::string ReplaceInvalidUtf8(std::string_view text);

// The beginning of `text` that has at most `max_bytes` and ends with a whole sequence.
std::string_view TruncateUtf8(std::string_view text, size_t max_bytes);

// Valid UTF-8 on one line: as ReplaceInvalidUtf8, with a space for each control character, cut to at most
// `max_bytes`. For messages from a peer that is not trusted.
std::string ToPlainLine(std::string_view text, size_t max_bytes);

}  // namespace kata
