#include "linux/netlink/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/parse_number.h"

namespace kata::linux {
namespace {

constexpr size_t kMaxHardwareAddressBytes = 32;  // MAX_ADDR_LEN

}  // namespace

Result<IpAddress> IpAddress::Parse(const std::string& text) {
  IpAddress address;
  address.family_ = text.contains(':') ? AF_INET6 : AF_INET;
  // inet_pton(3) stops at a zero byte.
  if (text.contains('\0') || inet_pton(address.family_, text.c_str(), address.bytes_.data()) != 1) {
    return MakeError(Code::kInvalidArgument, "'{}' is not an IP address", text);
  }
  return address;
}

Result<IpAddress> IpAddress::FromBytes(std::string_view bytes) {
  IpAddress address;
  if (bytes.size() != 4 && bytes.size() != 16) {
    return MakeError(Code::kInvalidArgument, "IP address of {} bytes", bytes.size());
  }
  address.family_ = bytes.size() == 4 ? AF_INET : AF_INET6;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

bool IpAddress::IsUnspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::IsLoopback() const {
  if (family_ == AF_INET) return bytes_[0] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; });
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family_, bytes_.data(), text, sizeof text);
  return text;
}

Result<IpPrefix> IpPrefix::Parse(const std::string& text) {
  const size_t slash = text.find('/');
  IpPrefix prefix;
  prefix.address = TRY(IpAddress::Parse(text.substr(0, slash)));
  prefix.length = static_cast<uint8_t>(prefix.address.bits());
  if (slash == std::string::npos) return prefix;
  const std::optional<uint8_t> length = ParseNumber<uint8_t>(std::string_view(text).substr(slash + 1));
  if (!length || *length > prefix.address.bits()) {
    return MakeError(Code::kInvalidArgument, "'{}' has no valid prefix length", text);
  }
  prefix.length = *length;
  return prefix;
}

std::string IpPrefix::ToString() const {
  return fmt::format("{}/{}", address.ToString(), length);
}

Result<std::string> ParseHardwareAddress(std::string_view text) {
  std::string bytes;
  std::string_view rest = text;
  while (true) {
    uint8_t byte = 0;
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + std::min<size_t>(2, rest.size()), byte, 16);
    const bool two_digits = rest.size() >= 2 && end == rest.data() + 2;
    if (error != std::errc() || !two_digits || bytes.size() == kMaxHardwareAddressBytes) break;
    bytes.push_back(static_cast<char>(byte));
    rest.remove_prefix(2);
    if (rest.empty()) return bytes;
    if (rest[0] != ':') break;
    rest.remove_prefix(1);
  }
  return MakeError(Code::kInvalidArgument, "'{}' is not a hardware address", text);
}

std::string FormatHardwareAddress(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", static_cast<unsigned char>(byte));
  }
  return text;
}

}  // namespace kata::linux
