#include "oci/quote.h"

#include <fmt/format.h>

namespace kata::oci {
namespace {
constexpr size_t kMaxBytes = 64;
}

std::string Quote(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text.substr(0, kMaxBytes)) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > kMaxBytes) out += "...";
  out += quote;
  return out;
}

}  // namespace kata::oci
